// Figures, drawn by Plotly when they come into sight; each has its numbers in a table below.

const GREY = "#c8c8c8";
const FRONT = "#a8a8a8";
const LAYOUT = {
  margin: { l: 62, r: 14, t: 30, b: 46 },
  font: { family: "system-ui, 'DejaVu Sans', sans-serif", size: 13, color: "#1f2328" },
  hovermode: "closest",
  hoverlabel: { align: "left" },
  showlegend: false,
  plot_bgcolor: "#fff",
  paper_bgcolor: "#fff",
};
const CONFIG = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
let plotly = null; // a promise of the library, once a figure has asked for it

/** Unpack the plotting library; only figures need it. */
function library() {
  plotly ??= (async () => {
    const packed = Uint8Array.from(atob(byId("library").textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    document.head.append(element("script", { textContent: await new Response(stream).text() }));
  })();
  return plotly;
}

const SIGHT = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => entry.target.dispatchEvent(new Event("sight"))),
  { rootMargin: "500px" },
);

function axis(title, more = {}) {
  return { title: { text: title }, gridcolor: "#e6e6e6", zeroline: false, linecolor: "#888", automargin: true, ...more };
}

/** A figure with its caption, what it shows in words, and a table of its numbers that is made when it is opened. */
function figure({ title, summary, traces, layout, table, height = null, runs = () => null }) {
  const plot = element("div", { className: "plot", role: "img", "aria-label": `${title}: ${summary}` });
  if (height !== null) plot.style.height = `${height}px`;
  plot.addEventListener(
    "sight",
    async () => {
      SIGHT.unobserve(plot);
      await library();
      if (!plot.isConnected) return; // the reader has gone to another view
      Plotly.newPlot(plot, traces, { ...LAYOUT, ...layout }, CONFIG);
      plot.on("plotly_click", (event) => {
        const found = runs(event.points[0].customdata);
        if (found) showRuns(...found);
      });
    },
    { once: true },
  );
  SIGHT.observe(plot);
  const details = element("details", {}, element("summary", {}, "The numbers"));
  details.ontoggle = () => details.open && details.children.length === 1 && details.append(table());
  const save = (format) => {
    const button = element("button", { type: "button", className: "save" }, format.toUpperCase());
    button.setAttribute("aria-label", `Save the figure ${title} as ${format.toUpperCase()}`);
    button.onclick = () => Plotly.downloadImage(plot, { format, filename: title.replaceAll(/[^\w.=-]+/g, "_"), width: plot.clientWidth, height: plot.clientHeight, scale: format === "png" ? 3 : 1 });
    return button;
  };
  const saving = element("p", { className: "saving" }, "Save as ", save("svg"), " ", save("png"));
  return element("figure", {}, element("figcaption", {}, title), plot, saving, details);
}

function named(column) {
  return `${column.title} (${column.model})`;
}

function metric(column) {
  return column.metric.replaceAll("_", " ") + (column.percent ? " × 100" : "");
}

/** Score against a cost. Places, axis and front are made with the data, of all methods; here some are left out. */
function tradeoff(column, cost) {
  const { x, front, axis: type } = part().tradeoffs[column.place][cost];
  const shown = scored(column).filter((cell) => cell.method in x);
  const line = {
    x: [...front.map((one) => one.x), type.type === "log" ? 10 ** type.range[1] : type.range[1]],
    y: [...front.map((one) => one.y), front.at(-1).y],
    mode: "lines",
    line: { color: FRONT, width: 2, shape: "hv" },
    hoverinfo: "skip",
  };
  const marks = shown.map((cell) => {
    const { color, symbol } = method(cell.method);
    return {
      x: [x[cell.method]],
      y: [unit(column) * cell.score.mean],
      mode: "markers",
      marker: { size: 11, color, symbol, line: { color: "#fff", width: 1 } },
      error_y: { ...bars([cell.score], column), color, thickness: 1.2, width: 0 },
      customdata: [cell.method],
      hovertemplate: `<b>${cell.method}</b><br>${points(cell.score.mean, column)}${ends(cell.score, (end) => points(end, column))}<br>${COSTS[cost].show(costOf(cell, cost))} ${COSTS[cost].name}<extra></extra>`,
    };
  });
  const onFront = front.map((one) => one.method);
  return figure({
    title: named(column),
    summary: `score against ${COSTS[cost].name}; on the front are ${onFront.join(", ")}`,
    traces: [line, ...marks],
    layout: { xaxis: axis(COSTS[cost].name, type), yaxis: axis(metric(column)) },
    runs: (label) => label && [`${label}, ${named(column)}`, shown.find((cell) => cell.method === label).runs],
    table: () => scoresAndCosts(column, shown, new Set(onFront)),
  });
}

/** Error bars of the intervals of a column, as Plotly takes them; none where the ends are not known. */
function bars(intervals, column) {
  const side = (end) => intervals.map((one) => (one[end] === null ? 0 : unit(column) * Math.abs(one[end] - one.mean)));
  return { array: side("high"), arrayminus: side("low") };
}

/** Lines of methods, the leading ones in colour. lines: { method, x, y, spread? }; of: the column, for its unit. */
function lines({ title, summary, x, y, lines, leading, table, of }) {
  const grey = lines.filter((line) => !leading.includes(line.method));
  const led = lines.filter((line) => leading.includes(line.method));
  const bands = led
    .filter((line) => line.spread && line.x.length > 1)
    .map((line) => ({
      x: [...line.x, ...line.x.toReversed()],
      y: [...line.y.map((value, i) => value + line.spread[i]), ...line.y.map((value, i) => value - line.spread[i]).toReversed()],
      fill: "toself",
      fillcolor: `${method(line.method).color}20`,
      mode: "none",
      hoverinfo: "skip",
    }));
  const drawn = [...grey, ...led].map((line) => {
    const { color, symbol } = leading.includes(line.method) ? method(line.method) : { color: GREY, symbol: "circle" };
    return {
      x: line.x,
      y: line.y,
      name: line.method,
      mode: "lines+markers",
      line: { color, width: color === GREY ? 1 : 2.2 },
      marker: { symbol, color, size: color === GREY ? 4 : 8 },
      hovertemplate: `<b>${line.method}</b><br>%{y:${of.percent ? ".1f" : ".3f"}} at %{x}<extra></extra>`,
    };
  });
  return figure({ title, summary, traces: [...bands, ...drawn], layout: { xaxis: axis(x), yaxis: axis(y) }, table });
}

/** Differences with their intervals around no difference. rows: { name, color, symbol, mean, low, high }, as measured. */
function forest({ title, summary, axisTitle, rows, table, margin = null, runs, of = {} }) {
  const color = rows.map((row) => row.color);
  const traces = [
    {
      x: rows.map((row) => unit(of) * row.mean),
      y: rows.map((row) => row.name),
      mode: "markers",
      marker: { size: 10, color, symbol: rows.map((row) => row.symbol) },
      error_x: { ...bars(rows, of), color: "#59636e", thickness: 1.5, width: 4 },
      customdata: rows.map((row) => row.name),
      text: rows.map((row) => `<b>${row.name}</b><br>${points(row.mean, of, true)}${ends(row, (end) => points(end, of, true))}`),
      hovertemplate: "%{text}<extra></extra>",
    },
  ];
  const band = { type: "rect", x0: -100 * (margin ?? 0), x1: 0, yref: "paper", y0: 0, y1: 1, layer: "below", fillcolor: "#ececec", line: { width: 0 } };
  const layout = {
    xaxis: axis(axisTitle, { zeroline: true, zerolinecolor: "#59636e", zerolinewidth: 1.5 }),
    yaxis: axis("", { autorange: "reversed", type: "category", ticksuffix: "  " }),
    shapes: margin === null ? [] : [band],
  };
  return figure({ title, summary, traces, layout, table, runs, height: 90 + 26 * rows.length });
}

/** The methods shown, each in its colour and with its mark. */
function key(shown, extra = []) {
  const entries = shown.map((label) => element("span", {}, mark(label)));
  return element("p", { className: "choices", "aria-hidden": true }, ...entries, ...extra.map((text) => element("span", { style: `color:${FRONT}` }, text)));
}
