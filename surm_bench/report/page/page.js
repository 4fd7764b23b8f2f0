// The views, and what happens when one is chosen or a filter changes.

const LEVEL = "95 %";
let led = null; // methods in colour, once the reader has chosen; null: those that lead

function panels(made) {
  return element("div", { className: "panels" }, ...made);
}

/** A panel for each column, drawn by what the reader chooses of [value, text] pairs. */
function panelsBy(id, title, options, draw) {
  const select = element("select", { id });
  const body = element("div");
  fill(select, options);
  select.onchange = () => body.replaceChildren(panels(columns({ reported: true }).map((column) => draw(column, select.value)).filter(Boolean)));
  select.onchange();
  return { controls: element("div", { className: "controls" }, element("label", {}, title, select)), body };
}

function note(...texts) {
  return element("p", { className: "note" }, ...texts);
}

/** Methods against tasks, a table for each model. */
function scores() {
  if (part().table) return [plain(part().table), note(part().table.caption), note("Protocol. ", part().protocol)];
  const seeds = part().seeds;
  const made = [...new Set(columns().map((column) => column.model))].map((model) => {
    const shown = columns().filter((column) => column.model === model);
    const found = new Map(shown.map((column) => [column.place, new Map(cells(column).map((cell) => [cell.method, cell]))]));
    const cell = (label, place) => found.get(place)?.get(label);
    const any = (label) => shown.map((column) => cell(label, column.place)).find((one) => one) ?? null;
    const means = averages(shown, cell);
    const counted = (name, title) => ({
      title,
      value: (label) => any(label)?.[name] ?? null,
      show: (label) => count(any(label)?.[name] ?? null),
    });
    return sortable({
      caption: model,
      rows: labels().filter(any),
      columns: [
        { title: "Adapter", text: true, value: (label) => label, show: mark },
        counted("parameters", "Parameters"),
        counted("stored_parameters", "Stored"),
        ...shown.map((column) => ({
          title: column.title,
          value: (label) => cell(label, column.place)?.score.mean ?? null,
          show: (label) => {
            const one = cell(label, column.place);
            return one ? scoreOf(one, seeds, `${label}, ${named(column)}`, one.best) : MISSING;
          },
        })),
        ...means,
      ],
      below: publishedRows(model, shown, means.length),
    });
  });
  const how = `Scores${unitsOf(columns())} after the last step, with the ${LEVEL} t interval of the mean over up to ${plural(seeds, "seed")}. Bold: the best mean of a column. A number opens its runs. `;
  const sources = part().published.sources.map((source) => element("li", {}, source));
  return [...made, note(how, part().protocol), sources.length ? element("details", {}, element("summary", {}, "Sources of published rows"), element("ul", { className: "note" }, ...sources)) : null];
}

/** The averages over columns that are all shown. */
function averages(shown, cell) {
  const places = new Set(shown.map((column) => column.place));
  return part()
    .averages.filter((one) => one.columns.every((place) => places.has(place)))
    .map((average) => {
      const { title, columns, means } = average;
      const found = (label) => columns.map((place) => cell(label, place));
      const value = (label) => (found(label).every(Boolean) ? means[label] : null);
      const runs = (label) => found(label).flatMap((one) => one.runs);
      return { title, value, show: (label) => (value(label) === null ? MISSING : traced(points(value(label), average), "", runs(label), `${label}, ${title}`)) };
    });
}

/** How scores of these columns are shown, in words: × 100 or as measured, and of which metrics a lower one is better. */
function unitsOf(shown) {
  const names = (chosen) => [...new Set(shown.filter(chosen).map((column) => column.metric.replaceAll("_", " ")))].join(", ");
  const asMeasured = names((column) => !column.percent);
  const lower = names((column) => !column.greater_is_better);
  const texts = [asMeasured && `${asMeasured}: as measured`, lower && `${lower}: a lower one is better`].filter(Boolean);
  return " × 100" + (texts.length ? ` (${texts.join("; ")})` : "");
}

function publishedRows(model, shown, averages) {
  const rows = part().published.rows.filter((row) => row.model === model && shown.some((column) => row.scores[column.place]));
  if (!rows.length) return [];
  const made = rows.map((row) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, `${row.label}, published`),
      element("td", {}, row.parameters ?? MISSING),
      element("td", {}, MISSING),
      ...shown.map((column) => element("td", {}, row.scores[column.place] ?? MISSING)),
      ...Array.from({ length: averages }, () => element("td", {}, MISSING)),
    ),
  );
  return [element("tbody", { className: "published" }, ...made)];
}

/** The cells of a column with all that they cost. */
function scoresAndCosts(column, shown, front = new Set()) {
  const seeds = part().seeds;
  const measured = (cost, title) => ({
    title,
    value: (cell) => costOf(cell, cost),
    show: (cell) => interval(cell[cost]),
  });
  const counted = (cost, title) => ({ title, value: (cell) => cell[cost], show: (cell) => count(cell[cost]) });
  return sortable({
    caption: named(column),
    rows: shown,
    sort: 1,
    ascending: !column.greater_is_better,
    columns: [
      { title: "Adapter", text: true, value: (cell) => cell.method, show: (cell) => element("span", {}, mark(cell.method), front.has(cell.method) ? " (front)" : "") },
      { title: `Score, ${metric(column)}`, value: (cell) => cell.score.mean, show: (cell) => scoreOf(cell, seeds, `${cell.method}, ${named(column)}`) },
      counted("parameters", "Parameters"),
      counted("stored_parameters", "Stored"),
      measured("step_ms", "Step (ms)"),
      measured("train_seconds", "Training (s)"),
      measured("memory", "Peak memory (MiB)"),
    ],
  });
}

function tradeoffs() {
  const drawn = (column, cost) => (scored(column).length && part().tradeoffs[column.place][cost] ? tradeoff(column, cost) : null);
  const chosen = panelsBy("axis", "Score against ", Object.entries(COSTS).map(([cost, { name }]) => [cost, name]), drawn);
  const how = `Bars: the ${LEVEL} interval of the mean. The front, of all methods, is the best mean score that so much, or less, has reached. A click on a point opens its runs.`;
  return [chosen.controls, key(labels(), ["— front"]), chosen.body, note(how)];
}

/** The methods within the budget, best first, with what each costs. */
function budget() {
  const limit = byId("most").value;
  const cost = COSTS[byId("cost").value].name;
  const made = columns({ reported: true }).map((column) => {
    const shown = scored(column);
    if (!shown.length) return note(`${named(column)}: nothing was measured within this budget.`);
    const sign = column.greater_is_better ? 1 : -1;
    const best = shown.reduce((a, b) => (sign * b.score.mean > sign * a.score.mean ? b : a));
    const end = column.greater_is_better ? "high" : "low";
    const near = shown.filter((cell) => cell !== best && cell.score[end] !== null && sign * cell.score[end] >= sign * best.score.mean);
    const summary = [element("strong", {}, best.method), ` has the best mean score, ${points(best.score.mean, column)}${ends(best.score, (value) => points(value, column))}.`];
    if (near.length) summary.push(` The intervals of ${near.map((cell) => cell.method).join(", ")} reach it.`);
    return element("section", {}, element("h3", {}, named(column)), element("p", {}, ...summary), scoresAndCosts(column, shown));
  });
  const how = limit === "" ? "No budget is set: give one above, or take that of a method." : `At most ${Number(limit).toLocaleString("en")} ${cost}.`;
  const care = `Intervals: ${LEVEL}, of the mean over runs, for times and memory of the geometric mean. These are of the machines that made the runs, which may have had other work; memory is the peak of the whole process. Two methods are compared pair by pair under Differences.`;
  return [element("p", {}, how), ...made, note(care)];
}

function differences() {
  const references = [...new Set(part().differences.map((one) => one.reference))];
  if (!references.length) return [note("No runs of LoRA with a partner of the same seed.")];
  const chosen = panelsBy("reference", "Difference to ", references.map((label) => [label, label]), differencesTo);
  const examples = part().differences.every((one) => one.examples) ? "for other seeds and other test examples" : "for other seeds; also for other test examples where all predictions are there";
  const lower = columns({ reported: true }).some((column) => !column.greater_is_better);
  const units = columns({ reported: true }).every((column) => column.percent) ? "" : " Scores that are not percentages have their own unit.";
  const how = `Score minus that of ${references.join(" or ")}, in points${lower ? " (the reverse where a lower score is better)" : ""}, paired by seed, with the ${LEVEL} t interval ${examples}.${units} Right of the line a method is ahead. Nothing is corrected for the number of comparisons.`;
  return [chosen.controls, chosen.body, note(how)];
}

function differencesTo(column, reference) {
  const order = new Set(cells(column).map((cell) => cell.method));
  const found = part().differences.filter((one) => one.column === column.place && one.reference === reference && one.mean !== null && order.has(one.method));
  if (!found.length) return null;
  const sorted = labels().flatMap((label) => found.filter((one) => one.method === label));
  const runsOf = (label) => part().cells.filter((cell) => cell.column === column.place && [label, reference].includes(cell.method)).flatMap((cell) => cell.runs);
  const title = (label) => `${label} minus ${reference}, ${named(column)}`;
  const ahead = sorted.filter((one) => one.low > 0).map((one) => one.method);
  return forest({
    title: named(column),
    summary: `differences to ${reference}; the whole interval is above zero for ${ahead.join(", ") || "none"}`,
    axisTitle: `${column.percent ? "points" : column.metric.replaceAll("_", " ")} ahead of ${reference}`,
    of: column,
    rows: sorted.map((one) => ({ ...one, name: one.method, ...method(one.method) })),
    runs: (label) => [title(label), runsOf(label)],
    table: () =>
      sortable({
        caption: `${named(column)}, minus ${reference}`,
        rows: sorted,
        columns: [
          ADAPTER,
          { title: "Difference", value: (one) => one.mean, show: (one) => traced(points(one.mean, column, true), ends(one, (end) => points(end, column, true)), runsOf(one.method), title(one.method)) },
          { title: "Pairs", value: (one) => one.n, show: (one) => `${one.n}${one.n_missing ? ` (${one.n_missing} diverged)` : ""}` },
        ],
      }),
  });
}

/** Which methods have a colour, for the reader to choose. */
function inColour(redraw) {
  const chosen = led ?? part().leading;
  const boxes = labels().map((label) => {
    const box = element("input", { type: "checkbox", value: label, checked: chosen.includes(label) });
    return element("label", {}, box, " ", mark(label));
  });
  const list = element("div", { className: "choices" }, ...boxes);
  list.onchange = () => {
    led = [...list.querySelectorAll("input:checked")].map((box) => box.value);
    redraw();
  };
  return element("details", { open: true }, element("summary", {}, "Methods in colour (of each family the one that leads; the others are grey, their names on hover)"), list);
}

function curves() {
  const body = element("div");
  const draw = () => body.replaceChildren(panels(columns({ reported: true }).map(curvesOf).filter(Boolean)));
  draw();
  return [inColour(draw), body, note("Mean over seeds of the score on the reported split; bands: ± one sample standard deviation. A setting that diverged on a seed has no curve.")];
}

function curvesOf(column) {
  const shown = new Set(cells(column).map((cell) => cell.method));
  const found = part().curves.filter((curve) => curve.column === column.place && shown.has(curve.method));
  if (!found.length) return null;
  const inUnit = (values) => values.map((value) => unit(column) * (value ?? 0));
  return lines({
    title: named(column),
    summary: `score after each evaluation of ${plural(found.length, "method")}`,
    x: "optimiser steps",
    y: metric(column),
    leading: led ?? part().leading,
    of: column,
    lines: found.map((curve) => ({ method: curve.method, x: curve.step, y: inUnit(curve.mean), spread: inUnit(curve.std) })),
    table: () => numbered(named(column), "steps", column, found.flatMap((curve) => curve.step.map((step, i) => ({ method: curve.method, x: step, y: curve.mean[i] })))),
  });
}

function numbered(caption, x, of, rows) {
  return sortable({
    caption,
    rows,
    columns: [
      ADAPTER,
      { title: x, value: (row) => row.x, show: (row) => String(row.x) },
      { title: `score${of.percent ? " × 100" : ""}`, value: (row) => row.y, show: (row) => points(row.y, of) },
    ],
  });
}

function tuning() {
  const places = new Set(columns().map((column) => column.place));
  const trials = part().trials.filter((trial) => places.has(trial.column) && labels().includes(trial.method));
  const tasks = [...new Set(trials.map((trial) => trial.task))];
  const body = element("div");
  const draw = () => body.replaceChildren(panels(tasks.map(expectedOf).filter(Boolean)));
  draw();
  if (!trials.length) return [note("Nothing was tuned.")];
  const table = sortable({
    caption: "Settings tried",
    rows: trials,
    limit: 200,
    columns: [
      ADAPTER,
      text("Task", (trial) => trial.task),
      text("Setting", (trial) => trial.setting),
      { title: "Steps", value: (trial) => trial.steps, show: (trial) => count(trial.steps) },
      { title: `Score${unitsOf(columns())}, rows held out`, value: (trial) => trial.mean, show: (trial) => traced(trial.mean === null ? "diverged" : points(trial.mean, part().columns[trial.column]), "", trial.runs, `${trial.method} on ${trial.task}, ${trial.setting}`, trial.chosen) },
      { title: "Chosen", text: true, value: (trial) => (trial.chosen ? "yes" : "no"), show: (trial) => (trial.chosen ? "yes" : "") },
    ],
  });
  const how = "Expected best score of so many settings, drawn from those that tuning tried in full (Dodge et al., 2019). ";
  return [inColour(draw), body, note(how, part().protocol), element("h3", {}, "Every setting that was tried"), table];
}

function expectedOf(task) {
  const found = part().expected.filter((one) => one.task === task && labels().includes(one.method));
  if (!found.length) return null;
  const numbers = (one) => one.best.map((_, i) => i + 1);
  return lines({
    title: task,
    summary: `expected best score of so many settings, ${plural(found.length, "method")}`,
    x: "settings tried",
    y: `expected best score${found[0].percent ? " × 100" : ""}`,
    leading: led ?? part().leading,
    of: found[0],
    lines: found.map((one) => ({ method: one.method, x: numbers(one), y: one.best.map((value) => unit(one) * value) })),
    table: () => numbered(task, "settings tried", found[0], found.flatMap((one) => one.best.map((y, i) => ({ method: one.method, x: i + 1, y })))),
  });
}

function claims() {
  return DATA.claims.flatMap((claim) => {
    const drawn = claim.comparisons.filter((one) => one.low !== null);
    const primary = claim.comparisons.filter((one) => one.primary);
    return [
      element("h3", {}, capital(claim.name)),
      element("p", {}, `The paper: ${claim.paper}. Asked here: ${claim.question}`),
      element("ul", {}, ...primary.map((one) => element("li", {}, `${one.title}: `, element("strong", {}, one.verdict), one.mean === null ? "" : `, ${points(one.mean, {}, true)}${ends(one, (end) => points(end, {}, true))}`))),
      drawn.length
        ? forest({
            title: claim.name,
            summary: drawn.map((one) => `${one.title}: ${one.verdict}`).join("; "),
            axisTitle: "points, first method minus second (grey: a loss that counts as none)",
            margin: claim.margin,
            rows: drawn.map((one) => ({ ...one, name: one.title })),
            runs: (title) => [title, drawn.find((one) => one.title === title).runs.filter(runOf)],
            table: () => plain(claim.table, claim.name),
          })
        : null,
      plain(claim.table, claim.name),
      note(claim.table.caption),
    ];
  });
}

/** The first view: the verdict on each claim, then every experiment, the most important first. */
function answers() {
  return [...(DATA.claims.length ? [verdicts()] : []), ...DATA.parts.map(experimentSection)];
}

/** A table of all primary comparisons. */
function verdicts() {
  const rows = DATA.claims.flatMap((claim) => {
    const primary = claim.comparisons.filter((one) => one.primary);
    return (primary.length ? primary : [null]).map((one) => ({ claim, one }));
  });
  const difference = ({ one }) => {
    if (one === null || one.mean === null) return MISSING;
    const after = ends(one, (end) => points(end, {}, true));
    const found = one.runs.filter(runOf);
    return found.length ? traced(points(one.mean, {}, true), after, found, one.title) : points(one.mean, {}, true) + after;
  };
  const table = sortable({
    caption: "Registered claims and what the runs say",
    rows,
    columns: [
      { title: "Asked", text: true, value: ({ claim }) => claim.question, show: ({ claim }) => element("span", { className: "long" }, capital(claim.question)) },
      { title: "Answer", text: true, value: ({ one }) => one?.answer ?? "", show: ({ one }) => element("span", { className: "long" }, one?.answer ?? "No comparison decides this question; the view Claims has comparisons that describe it.") },
      { title: "Difference", value: ({ one }) => one?.mean ?? null, show: difference },
      { title: "Verdict", text: true, value: ({ one }) => one?.verdict ?? "", show: ({ one }) => element("strong", {}, one?.verdict ?? MISSING) },
      text("Experiment", ({ one, claim }) => (one ?? claim.comparisons[0])?.experiment ?? ""),
    ],
  });
  const how = `Differences are in points, with their ${LEVEL} interval; a number opens its runs. The view Claims has the secondary comparisons, p values and figures.`;
  return element("section", { className: "claims" }, table, note(how));
}

/** An experiment with its question; its scores are drawn when they come into sight. */
function experimentSection(whole) {
  const place = DATA.parts.indexOf(whole);
  const late = element("div", { className: "late" });
  late.addEventListener(
    "sight",
    () => {
      SIGHT.unobserve(late);
      late.classList.remove("late");
      late.append(...ofPart(whole, scores).filter((made) => made !== null));
    },
    { once: true },
  );
  SIGHT.observe(late);
  const explore = element("button", { type: "button" }, `Explore ${whole.name}`);
  explore.onclick = () => {
    byId("part").value = place;
    choosePart();
    location.hash = "tradeoff";
  };
  return element("section", { className: "experiment" }, element("h3", {}, whole.name), element("p", {}, whole.question), late, explore);
}

function runs() {
  const place = new Set(columns().map((column) => `${column.model} ${column.task}`));
  const rows = Object.entries(part().runs)
    .map(([id, run]) => ({ id, ...run }))
    .filter((run) => place.has(`${run.model} ${run.task}`) && labels().includes(run.method));
  return [
    sortable({
      caption: `${plural(rows.length, "run")}, tuning included`,
      rows,
      limit: 200,
      columns: [
        { title: "Run", text: true, value: (run) => run.id, show: (run) => traced(run.id, "", [run.id], `${run.method} on ${run.task}`) },
        text("Adapter", (run) => run.method),
        text("Model", (run) => run.model),
        text("Task", (run) => run.task),
        text("For", (run) => (run.tuning ? "tuning" : "report")),
        { title: "Seed", value: (run) => run.seed, show: (run) => String(run.seed) },
        text("Status", (run) => run.status),
        { title: `Score${unitsOf(columns())}`, value: (run) => run.score, show: (run) => points(run.score, run) },
        { title: "Commit", text: true, value: (run) => run.commit, show: (run) => run.commit.slice(0, 7) },
        { title: "Machine", text: true, value: (run) => run.machine, show: (run) => run.machine.split("), ")[0] + ")" },
        { title: "Made", text: true, value: (run) => run.created, show: (run) => madeAt(run) },
      ],
    }),
  ];
}

const VIEWS = {
  ...(DATA.claims.length || DATA.parts.length > 1 ? { answers: ["The answer", answers] } : {}),
  scores: ["Scores", scores],
  tradeoff: ["Score against cost", tradeoffs],
  budget: ["Which adapter for my budget?", budget],
  differences: ["Differences to LoRA", differences],
  curves: ["Learning curves", curves],
  tuning: ["Tuning", tuning],
  ...(DATA.claims.length ? { claims: ["Claims", claims] } : {}),
  runs: ["Runs", runs],
};

function view() {
  const name = location.hash.slice(1);
  return name in VIEWS ? name : Object.keys(VIEWS)[0];
}

/** Draw the view of the address; tell how much passes the filters. */
function draw() {
  const name = view();
  const [title, make] = VIEWS[name];
  for (const link of document.querySelectorAll("#views a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.querySelectorAll(".js-plotly-plot").forEach((plot) => Plotly.purge(plot));
  SIGHT.disconnect();
  byId("filters").hidden = name === "answers";
  byId("main").replaceChildren(element("section", { id: "view" }, element("h2", {}, title), name === "answers" || !part().question ? null : element("p", { className: "question" }, part().question), ...make().filter((made) => made !== null)));
  const shown = new Set(columns().flatMap((column) => cells(column)).map((cell) => cell.method));
  byId("shown").textContent = `${shown.size} of ${plural(part().methods.length, "method")}, ${columns().length} of ${plural(part().columns.length, "column")}`;
}

function choosePart() {
  led = null;
  offerFilters();
  showAll();
}

function showAll() {
  for (const id of ["model", "task", "most", "as"]) byId(id).value = "";
  document.querySelectorAll("#families input").forEach((box) => (box.checked = true));
  draw();
}

function start() {
  const total = DATA.parts.reduce((sum, one) => sum + Object.keys(one.runs).length, 0);
  byId("about").textContent = `${plural(total, "run")}, the newest of ${DATA.newest}`;
  byId("views").append(...Object.entries(VIEWS).map(([name, [title]]) => element("li", {}, element("a", { href: `#${name}` }, title))));
  fill(byId("part"), DATA.parts.map((one, i) => [i, one.name]));
  fill(byId("cost"), Object.entries(COSTS).map(([value, { name }]) => [value, name]));
  offerFilters();
  byId("filters").onsubmit = (event) => event.preventDefault();
  byId("all").onclick = showAll;
  byId("filters").oninput = (event) => {
    if (event.target.id === "part") return choosePart();
    if (event.target.id === "as") budgetAs(event.target.value);
    draw();
  };
  addEventListener("beforeprint", () => document.querySelectorAll(".late, .plot").forEach((late) => late.dispatchEvent(new Event("sight"))));
  addEventListener("hashchange", () => {
    draw();
    byId("main").focus();
    scrollTo(0, 0);
  });
  draw();
}

start();
