// Making elements, and numbers as text.

const MISSING = "—";

/** An element with properties (or attributes) and children; a child that is null is left out. */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function byId(id) {
  return document.getElementById(id);
}

/** Fill a select with [value, text] pairs, and keep what was chosen where it is still there. */
function fill(select, options) {
  const before = select.value;
  select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
  if (options.some(([value]) => String(value) === before)) select.value = before;
}

const COSTS = {
  parameters: { name: "adapter parameters", show: count },
  stored_parameters: { name: "stored parameters", show: count },
  step_ms: { name: "step time (ms)", show: significant },
  memory: { name: "peak memory (MiB)", show: significant },
  train_seconds: { name: "training time (s)", show: significant },
};

/** What a cell costs: a count or a mean; null where it was not measured. */
function costOf(cell, cost) {
  const value = cell[cost];
  return value !== null && typeof value === "object" ? value.mean : value;
}

function count(value) {
  return value === null ? MISSING : Math.round(value).toLocaleString("en");
}

function significant(value) {
  return value === null ? MISSING : Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });
}

/** The factor by which scores are shown: of a column, an average, a run or a comparison, as its metric says. */
function unit({ percent = true }) {
  return percent ? 100 : 1;
}

/** A score of a column (or whatever has a unit) as text. */
function points(score, of, sign = false) {
  if (score === null) return MISSING;
  const text = (unit(of) * score).toFixed(of.percent === false ? 3 : 1);
  return sign && !text.startsWith("-") ? `+${text}` : text;
}

/** The ends of an interval as text, "" where they are not known. */
function ends({ low, high }, show) {
  return low === null ? "" : ` [${show(low)}, ${show(high)}]`;
}

function interval(value) {
  return significant(value.mean) + ends(value, significant);
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

function plural(n, noun) {
  return `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
}
