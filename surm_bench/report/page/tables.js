// Tables that can be sorted, and the runs behind a number.

/**
 * A table whose header buttons sort it.
 *
 * columns: { title, value(row) to sort by, show(row) text or element, text: true to align left }; the first one names
 * the row. sort: the place of the column that orders the rows at first, ascending or not. below: elements that stay at
 * the end. limit: how many rows are shown before a button is pressed.
 */
function sortable({ caption, columns, rows, sort = null, ascending = false, limit = Infinity, below = [] }) {
  const whole = wholePart;
  const body = element("tbody");
  const heads = columns.map((column) => {
    const button = element("button", { type: "button" }, column.title);
    const head = element("th", { scope: "col", className: column.text ? "text" : "" }, button);
    button.onclick = () => order(column, head.getAttribute("aria-sort") === (column.text ? "ascending" : "descending"));
    return head;
  });

  function order(column, reverse) {
    const descending = column.text ? reverse : !reverse;
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[columns.indexOf(column)].setAttribute("aria-sort", descending ? "descending" : "ascending");
    show(ofPart(whole, () => [...rows].sort((a, b) => compare(column.value(a), column.value(b), descending))));
  }

  const more = element("button", { type: "button", hidden: rows.length <= limit }, `Show all ${plural(rows.length, "row")}`);
  more.onclick = () => {
    limit = Infinity;
    more.hidden = true;
    show(shown);
  };
  let shown = rows;

  function show(sorted) {
    shown = sorted;
    body.replaceChildren(...ofPart(whole, () => sorted.slice(0, limit).map(line)));
  }

  function line(row) {
    const cells = columns.map((column, i) =>
      element(i ? "td" : "th", { scope: i ? null : "row", className: column.text ? "text" : "" }, column.show(row)),
    );
    return element("tr", {}, ...cells);
  }

  if (sort === null) show(rows);
  else order(columns[sort], ascending);
  const table = element("table", {}, element("caption", {}, caption), element("thead", {}, element("tr", {}, ...heads)), body, ...below);
  return element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": caption }, table, more);
}

/** What is missing comes last, whichever way. */
function compare(a, b, descending) {
  if (a === null || b === null) return (a === null) - (b === null);
  const sign = descending ? -1 : 1;
  return sign * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
}

const ADAPTER = { title: "Adapter", text: true, value: (row) => row.method, show: (row) => mark(row.method) };

/** A column of texts, which are what is shown and what is sorted by. */
function text(title, value) {
  return { title, text: true, value, show: value };
}

/** A table of texts as it is. */
function plain(table, name = "Table") {
  const head = element("tr", {}, ...table.titles.map((title) => element("th", { scope: "col" }, title)));
  const rows = table.rows.map((row) =>
    element(
      "tr",
      {},
      ...row.map((cell, i) => element(i ? "td" : "th", {}, cell.best ? element("strong", {}, cell.text) : cell.text)),
    ),
  );
  return element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": name }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
}

const GLYPHS = {
  circle: "●",
  square: "■",
  "triangle-up": "▲",
  "triangle-down": "▼",
  "triangle-left": "◀",
  "triangle-right": "▶",
  diamond: "◆",
  pentagon: "⬟",
};

/** The name of a method beside the mark that it has in all figures. */
function mark(label) {
  const { color, symbol } = method(label);
  return element("span", {}, element("span", { className: "mark", style: `color:${color}`, "aria-hidden": "true" }, GLYPHS[symbol]), label);
}

/** A number that opens the list of its runs. */
function traced(text, after, runs, title, best = false) {
  const button = element("button", { type: "button", className: best ? "cell best" : "cell" }, text);
  button.setAttribute("aria-label", `${text}${after}, ${title}: show its runs`);
  button.onclick = () => showRuns(title, runs);
  return element("span", {}, button, element("span", { className: "interval" }, after));
}

/** A score with its interval, how many runs it is of where that is fewer, or why there is none. */
function scoreOf(cell, seeds, title, best) {
  if (cell.diverged) return traced(`${cell.diverged} of ${cell.n + cell.diverged} diverged`, "", cell.runs, title);
  if (cell.score.mean === null) return traced("failed", "", cell.runs, title);
  const few = cell.n < seeds ? ` (n=${cell.n})` : "";
  const column = part().columns[cell.column];
  const shown = (score) => points(score, column);
  return traced(shown(cell.score.mean), ends(cell.score, shown) + few, cell.runs, title, best);
}

function showRuns(title, ids) {
  byId("dialog-title").textContent = title;
  byId("dialog-body").replaceChildren(...ids.map((id) => runDetails(id, runOf(id))));
  byId("dialog").showModal();
}

function madeAt(run) {
  return run.created.replace("T", " ").slice(0, 16);
}

function runDetails(id, run) {
  const copy = element("button", { type: "button" }, "Copy");
  const code = element("code", {}, run.command ?? MISSING);
  copy.onclick = () => {
    getSelection().selectAllChildren(code);
    document.execCommand("copy");
    copy.textContent = "Copied";
  };
  const shown = {
    score: run.score === null ? `${run.status}${run.error ? `: ${run.error}` : ""}` : `${(unit(run) * run.score).toFixed(run.percent ? 2 : 4)}${run.tuning ? " on rows held out" : ""}`,
    "repeat it": element("span", {}, code, " ", copy),
    commit: element("code", {}, run.commit),
    machine: run.machine,
    made: `${madeAt(run)} UTC`,
    record: element("a", { href: run.record }, `${decodeURI(run.record).split("/").slice(-2).join("/")}, run ${id}`),
  };
  const list = Object.entries(shown).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
  return element("section", {}, element("h3", {}, `seed ${run.seed}, run ${id}`), element("dl", {}, ...list));
}
