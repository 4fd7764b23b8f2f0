// What is shown: the part, the filters, and what passes them. The page computes only what depends on the reader's
// filters (rows shown, their order, the budget); all other numbers and places come with the data.

const DATA = JSON.parse(byId("data").textContent);

let wholePart = null; // the part that is being drawn beside others, without filters

/** The part shown: the reader's choice, unless several parts are drawn on one page. */
function part() {
  return wholePart ?? DATA.parts[Number(byId("part").value) || 0];
}

/** Draw something of a part as a whole, whatever the reader has chosen. */
function ofPart(whole, make) {
  const before = wholePart;
  wholePart = whole;
  try {
    return make();
  } finally {
    wholePart = before;
  }
}

/** The value of a filter; "" where it does not apply. */
function filtered(id) {
  return wholePart === null ? byId(id).value : "";
}

/** A run of any part. */
function runOf(id) {
  return DATA.parts.map((one) => one.runs[id]).find(Boolean);
}

function method(label) {
  return part().methods.find((one) => one.label === label);
}

/** The columns that pass the filters of model and task, each with its place among all. */
function columns({ reported = false } = {}) {
  const model = filtered("model");
  const task = filtered("task");
  return part()
    .columns.map((column, place) => ({ ...column, place }))
    .filter((column) => (!model || column.model === model) && (!task || column.task === task))
    .filter((column) => !reported || !column.split);
}

function familiesShown() {
  if (wholePart !== null) return new Set(wholePart.methods.map((one) => one.family));
  return new Set([...document.querySelectorAll("#families input:checked")].map((input) => input.value));
}

/** The labels of the families shown, in the order of the table. */
function labels() {
  const families = familiesShown();
  return part().methods.filter((one) => families.has(one.family)).map((one) => one.label);
}

/** Whether a cell is within the budget; one that was not measured is, as nothing is known. */
function within(cell) {
  const limit = filtered("most");
  const cost = costOf(cell, byId("cost").value);
  return limit === "" || cost === null || cost <= Number(limit) * (1 + 1e-9);
}

/** The cells of a column that pass all filters, in the order of the table. */
function cells(column) {
  const order = labels();
  return part()
    .cells.filter((cell) => cell.column === column.place && order.includes(cell.method) && within(cell))
    .sort((a, b) => order.indexOf(a.method) - order.indexOf(b.method));
}

function scored(column) {
  return cells(column).filter((cell) => cell.score.mean !== null);
}

/** Fill the filters with what the part has. */
function offerFilters() {
  const names = (key) => [...new Set(part().columns.map((column) => column[key]))];
  fill(byId("model"), [["", "all"], ...names("model").map((name) => [name, name])]);
  fill(byId("task"), [["", "all"], ...names("task").map((name) => [name, name])]);
  const families = [...new Set(part().methods.map((one) => one.family))];
  byId("families").replaceChildren(
    ...families.map((family) =>
      element("label", {}, element("input", { type: "checkbox", value: family, checked: true }), ` ${family}`),
    ),
  );
  fill(byId("as"), [["", "…"], ...part().methods.map((one) => [one.label, one.label])]);
}

/** Make the budget that of a method: the most that it costs in the columns shown. */
function budgetAs(label) {
  const shown = columns().map((column) => column.place);
  const costs = part()
    .cells.filter((cell) => cell.method === label && shown.includes(cell.column))
    .map((cell) => costOf(cell, byId("cost").value))
    .filter((cost) => cost !== null);
  byId("most").value = costs.length ? Math.max(...costs) : "";
}
