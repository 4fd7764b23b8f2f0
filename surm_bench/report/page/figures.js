// Figures, drawn by Plotly when they come into sight; each has its numbers in a table below.

const GREY = "#c8c8c8";
const FRONT = "#a8a8a8";
const LAYOUT = {
  margin: { l: 62, r: 14, t: 8, b: 46 },
  font: { family: "system-ui, 'DejaVu Sans', sans-serif", size: 13, color: "#1f2328" },
  hovermode: "closest",
  hoverlabel: { align: "left" },
  showlegend: false,
  plot_bgcolor: "#fff",
  paper_bgcolor: "#fff",
};
const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
const SIGHT = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => entry.target.dispatchEvent(new Event("sight"))),
  { rootMargin: "500px" },
);

function axis(title, more = {}) {
  return { title: { text: title }, gridcolor: "#e6e6e6", zeroline: false, linecolor: "#888", automargin: true, ...more };
}

/** A figure with its caption, what it shows in words, and a table of its numbers that is made when it is opened. */
function figure({ title, told, traces, layout, table, height = null, runs = () => null }) {
  const plot = element("div", { className: "plot", role: "img", "aria-label": `${title}: ${told}` });
  if (height !== null) plot.style.height = `${height}px`;
  plot.addEventListener(
    "sight",
    () => {
      SIGHT.unobserve(plot);
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
  return element("figure", {}, element("figcaption", {}, title), plot, details);
}

function named(column) {
  return `${column.title} (${column.model})`;
}

function percent(column) {
  return `${column.metric.replaceAll("_", " ")} × 100`;
}

/** Score against what it costs, with the front of the best score that so much can buy. */
function tradeoff(column, cost) {
  const shown = scored(column).filter((cell) => costOf(cell, cost) !== null);
  const costs = shown.map((cell) => costOf(cell, cost));
  const scores = shown.map((cell) => 100 * cell.score.mean);
  const log = cost.endsWith("parameters");
  const some = costs.filter((value) => value > 0);
  const [low, high] = [Math.min(...some), Math.max(...some)];
  const span = Math.max(Math.log10(high / low), 1);
  const nothing = low / 10 ** (0.3 * span); // the place of no parameters on a log axis
  const x = costs.map((value) => (log && value === 0 ? nothing : value));
  const front = paretoFront(costs, scores);
  const end = log ? high * 10 ** (0.1 * span) : high + 0.06 * (high - Math.min(...costs));
  const looks = shown.map((cell) => method(cell.method));
  const bar = (side) => shown.map((cell) => (cell.score.low === null ? 0 : 100 * Math.abs(cell.score[side] - cell.score.mean)));
  const traces = [
    {
      x: [...front.map((i) => x[i]), end],
      y: [...front.map((i) => scores[i]), scores[front.at(-1)]],
      mode: "lines",
      line: { color: FRONT, width: 2, shape: "hv" },
      hoverinfo: "skip",
    },
    {
      x,
      y: scores,
      mode: "markers",
      marker: { size: 11, color: looks.map((one) => one.color), symbol: looks.map((one) => one.symbol), line: { color: "#fff", width: 1 } },
      error_y: { array: bar("high"), arrayminus: bar("low"), color: "#8c959f", thickness: 1, width: 0 },
      customdata: shown.map((cell) => cell.method),
      text: shown.map(
        (cell, i) => `<b>${cell.method}</b><br>${points(cell.score.mean)}${ends(cell.score, points)}<br>${COSTS[cost].show(costs[i])} ${COSTS[cost].name}`,
      ),
      hovertemplate: "%{text}<extra></extra>",
    },
  ];
  const decades = Array.from({ length: 14 }, (_, i) => 10 ** i).filter((tick) => tick > low / 3 && tick < 3 * end);
  const ticks = costs.includes(0) && log ? { tickvals: [nothing, ...decades], ticktext: ["0", ...decades.map(count)] } : {};
  return figure({
    title: named(column),
    told: `score against ${COSTS[cost].name}; on the front are ${front.map((i) => shown[i].method).join(", ")}`,
    traces,
    layout: { xaxis: axis(COSTS[cost].name, { type: log ? "log" : "linear", ...ticks }), yaxis: axis(percent(column)) },
    runs: (label) => label && [`${label}, ${named(column)}`, shown.find((cell) => cell.method === label).runs],
    table: () => scoresAndCosts(column, shown, new Set(front.map((i) => shown[i].method))),
  });
}

/** Lines of methods, the leading ones in colour. lines: { method, x, y, spread? }. */
function lines({ title, told, x, y, lines, leading, table }) {
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
      hovertemplate: `<b>${line.method}</b><br>%{y:.1f} at %{x}<extra></extra>`,
    };
  });
  return figure({ title, told, traces: [...bands, ...drawn], layout: { xaxis: axis(x), yaxis: axis(y) }, table });
}

/** Differences with their intervals around no difference. rows: { name, color, symbol, mean, low, high }, fractions. */
function forest({ title, told, axisTitle, rows, table, margin = null, runs }) {
  const color = rows.map((row) => row.color);
  const bar = (side) => rows.map((row) => (row.low === null ? 0 : 100 * Math.abs(row[side] - row.mean)));
  const traces = [
    {
      x: rows.map((row) => 100 * row.mean),
      y: rows.map((row) => row.name),
      mode: "markers",
      marker: { size: 10, color, symbol: rows.map((row) => row.symbol) },
      error_x: { array: bar("high"), arrayminus: bar("low"), color: "#59636e", thickness: 1.5, width: 4 },
      customdata: rows.map((row) => row.name),
      text: rows.map((row) => `<b>${row.name}</b><br>${points(row.mean, true)}${ends(row, (end) => points(end, true))}`),
      hovertemplate: "%{text}<extra></extra>",
    },
  ];
  const zero = { type: "line", x0: 0, x1: 0, yref: "paper", y0: 0, y1: 1, layer: "below", line: { color: "#59636e", width: 1 } };
  const band = { type: "rect", x0: -100 * (margin ?? 0), x1: 0, yref: "paper", y0: 0, y1: 1, layer: "below", fillcolor: "#ececec", line: { width: 0 } };
  const layout = {
    xaxis: axis(axisTitle),
    yaxis: axis("", { autorange: "reversed", type: "category", ticksuffix: "  " }),
    shapes: margin === null ? [zero] : [band, zero],
  };
  return figure({ title, told, traces, layout, table, runs, height: 90 + 26 * rows.length });
}

/** The methods shown, each in its colour and with its mark. */
function key(shown, extra = []) {
  const entries = shown.map((label) => element("span", {}, mark(label)));
  return element("p", { className: "choices", "aria-hidden": true }, ...entries, ...extra.map((text) => element("span", { style: `color:${FRONT}` }, text)));
}
