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

/**
 * How far aside to draw each point, as a part of the width, so that no mark covers another and bars stand apart.
 *
 * x, y, spread: as parts of the width and the height of the plot. Those of the front stay where they are.
 */
function aside(x, y, spread, front) {
  const [width, height, size, bar] = [500, 330, 12, 4]; // pixels
  const shifts = x.map(() => 0);
  const placed = [];
  const order = x.map((_, i) => i).sort((a, b) => front.includes(b) - front.includes(a) || y[b] - y[a]);
  for (const i of order) {
    const free = (shift) =>
      placed.every((j) => {
        const rise = Math.abs(y[i] - y[j]);
        const apart = rise * height < size ? size : rise < spread[i] + spread[j] ? bar : 0;
        return Math.abs(x[i] + shift - x[j] - shifts[j]) * width >= apart;
      });
    let step = 0;
    while (!free(shifts[i])) {
      step = step > 0 ? -step : 1 - step;
      shifts[i] = (2 * step) / width;
    }
    placed.push(i);
  }
  return shifts;
}

/** Where costs stand on an axis: its type, ticks for no cost on a log axis, places in its own unit, and its ends. */
function costAxis(costs, log) {
  if (!log) {
    const margin = 0.08 * (Math.max(...costs) - Math.min(...costs) || 1);
    return { places: costs, range: [Math.min(...costs) - margin, Math.max(...costs) + margin], axis: { type: "linear" } };
  }
  const some = costs.filter((cost) => cost > 0).map(Math.log10);
  const [low, high] = some.length ? [Math.min(...some), Math.max(...some)] : [0, 0];
  const span = Math.max(high - low, 1);
  const nothing = low - 0.3 * span;
  const places = costs.map((cost) => (cost > 0 ? Math.log10(cost) : nothing));
  const range = [Math.min(...places) - 0.1 * span, high + 0.12 * span];
  const decades = Array.from({ length: 14 }, (_, i) => i).filter((tick) => tick > low - 0.3 && tick < range[1]);
  const none = costs.includes(0);
  const ticks = {
    tickvals: [...(none ? [nothing] : []), ...decades].map((tick) => 10 ** tick),
    ticktext: [...(none ? ["0"] : []), ...decades.map((tick) => count(10 ** tick))],
  };
  return { places, range, axis: { type: "log", ...ticks } };
}

/** Score against what it costs, with the front of the best score that so much can buy. */
function tradeoff(column, cost) {
  const shown = scored(column).filter((cell) => costOf(cell, cost) !== null);
  const costs = shown.map((cell) => costOf(cell, cost));
  const means = shown.map((cell) => 100 * cell.score.mean);
  const bar = (cell, side) => (cell.score.low === null ? 0 : 100 * Math.abs(cell.score[side] - cell.score.mean));
  const front = paretoFront(costs, means);
  const log = cost.endsWith("parameters");
  const { places, range, axis: type } = costAxis(costs, log);
  const inData = (place) => (log ? 10 ** place : place);
  const width = range[1] - range[0];
  const rise = 1.1 * (Math.max(...means.map((y, i) => y + bar(shown[i], "high"))) - Math.min(...means.map((y, i) => y - bar(shown[i], "low"))) || 1);
  const shifts = aside(places.map((place) => place / width), means.map((y) => y / rise), shown.map((cell) => bar(cell, "high") / rise), front);
  const step = {
    x: [...front.map((i) => inData(places[i])), inData(range[1])],
    y: [...front.map((i) => means[i]), means[front.at(-1)]],
    mode: "lines",
    line: { color: FRONT, width: 2, shape: "hv" },
    hoverinfo: "skip",
  };
  const marks = shown.map((cell, i) => {
    const { color, symbol } = method(cell.method);
    return {
      x: [inData(places[i] + shifts[i] * width)],
      y: [means[i]],
      mode: "markers",
      marker: { size: 11, color, symbol, line: { color: "#fff", width: 1 } },
      error_y: { array: [bar(cell, "high")], arrayminus: [bar(cell, "low")], color, thickness: 1.2, width: 0 },
      customdata: [cell.method],
      hovertemplate: `<b>${cell.method}</b><br>${points(cell.score.mean)}${ends(cell.score, points)}<br>${COSTS[cost].show(costs[i])} ${COSTS[cost].name}<extra></extra>`,
    };
  });
  const onFront = front.map((i) => shown[i].method);
  return figure({
    title: named(column),
    summary: `score against ${COSTS[cost].name}; on the front are ${onFront.join(", ")}`,
    traces: [step, ...marks],
    layout: { xaxis: axis(COSTS[cost].name, { ...type, range }), yaxis: axis(percent(column)) },
    runs: (label) => label && [`${label}, ${named(column)}`, shown.find((cell) => cell.method === label).runs],
    table: () => scoresAndCosts(column, shown, new Set(onFront)),
  });
}

/** Lines of methods, the leading ones in colour. lines: { method, x, y, spread? }. */
function lines({ title, summary, x, y, lines, leading, table }) {
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
  return figure({ title, summary, traces: [...bands, ...drawn], layout: { xaxis: axis(x), yaxis: axis(y) }, table });
}

/** Differences with their intervals around no difference. rows: { name, color, symbol, mean, low, high }, fractions. */
function forest({ title, summary, axisTitle, rows, table, margin = null, runs }) {
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
