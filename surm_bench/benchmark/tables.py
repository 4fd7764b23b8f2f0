"""The measurements as tables for a reader."""

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from surm_bench.benchmark.harness import HARNESS
from surm_bench.benchmark.layer import C3A, FROZEN, LOKR, REFERENCE, RFFT, case_name
from surm_bench.benchmark.plan import STRUCTURED, BenchmarkPlan
from surm_bench.report.tables import Cell, Column, Table

MEGABYTE = 1e6
HOW = (
    "In each round all cases run in turn, and each time is divided by the reference's time in the same round. The "
    "table shows the median of these ratios over {rounds} rounds, with the quartiles in brackets. Machine: {machine}."
)
MEMORY = (
    "Memory is the size of the module's tensors and of all other tensors at the peak of the step, from PyTorch's "
    "record of every allocation."
)
OF_MEDIANS = "{columns}: the quotient of two medians. "


def layer_table(data: pd.DataFrame, plan: BenchmarkPlan, machine: str) -> Table:
    """Return the table of cases against time and memory, with ratios to five references."""
    columns = [Column("Case"), Column("ms"), Column("÷ LoRA r=8")]
    columns += [Column(f"÷ {reference}") for reference in ("frozen", "C3A", "LoKr", "rfft")]
    columns += [Column("MB"), Column("MB ÷ LoRA r=8")]
    rows = []
    for setting, part in data.groupby("setting", sort=False):
        own = part.set_index("case")
        for case, row in own.iterrows():
            others = [row["ratio"] / own.loc[reference, "ratio"] for reference in (FROZEN, C3A, LOKR, RFFT)]
            texts = [_named(case, setting, data), f"{row['ms']:.1f}", _spread(row), *(f"{r:.2f}" for r in others)]
            texts += [f"{row['bytes'] / MEGABYTE:.0f}", f"{row['bytes'] / own.loc[REFERENCE, 'bytes']:.2f}"]
            rows.append(texts)
    caption = (
        f"Time and memory of forward and backward through one {plan.side}×{plan.side} layer with a frozen weight, on "
        f"{plan.tokens:,} tokens. {MEMORY} The layer's input and the gradient of its output, equal for all cases, are "
        "not counted. "
        + OF_MEDIANS.format(columns="÷ frozen, C3A, LoKr and rfft")
        + HOW.format(rounds=_rounds(data), machine=machine)
    )
    return _table(columns, rows, caption, data)


def network_table(data: pd.DataFrame, plan: BenchmarkPlan, machine: str) -> Table:
    """Return the table of whole training steps against their reference."""
    columns = [Column("Model"), Column("Adapter"), Column("ms"), Column("÷ reference"), Column("MB")]
    columns += [Column("MB ÷ reference")]
    rows = []
    for (setting, model, reference), part in data.groupby(["setting", "model", "reference"], sort=False):
        bytes_there = part.set_index("case").loc[reference, "bytes"]
        for _, row in part.iterrows():
            texts = [_named(model, setting, data), row["case"], f"{row['ms']:.0f}", _spread(row)]
            rows.append([*texts, f"{row['bytes'] / MEGABYTE:.0f}", f"{row['bytes'] / bytes_there:.3f}"])
    caption = (
        "Time and memory of a training step (forward, loss, backward, AdamW) of a whole model with random weights: "
        f"batch {plan.batch}, texts of 128 tokens, images of 224×224. The reference is LoRA r=8 for weight deltas, and "
        f"Houlsby m=64 for residual adapters. {MEMORY} " + HOW.format(rounds=_rounds(data), machine=machine)
    )
    return _table(columns, rows, caption, data)


def merged_table(data: pd.DataFrame, _: BenchmarkPlan, machine: str) -> Table:
    """Return the table of inference after merging against the plain backbone."""
    rows = [[_named(row["model"], row["setting"], data), row["case"], f"{row['ms']:.1f}", _spread(row)]
            for _, row in data.iterrows()]  # fmt: skip
    caption = (
        "Time of inference after merging a circulant delta into the model, and of the plain backbone. "
        + HOW.format(rounds=_rounds(data), machine=machine)
    )
    return _table([Column("Model"), Column("Case"), Column("ms"), Column("÷ plain")], rows, caption, data)


def harness_table(data: pd.DataFrame, _: BenchmarkPlan, machine: str) -> Table:
    """Return the table of whole runs, in seconds."""
    rows = [
        [row["model"], row["case"], f"{row['seconds']:.2f}", f"{row['seconds_against']:.2f}", _spread(row)]
        for _, row in data.iterrows()
    ]  # fmt: skip
    caption = (
        "Seconds of whole runs: make model and data, train, and evaluate after each epoch. The harness also loads the "
        "metric and writes the record and the adapter. The bare loop is hand-written PyTorch with the same steps. Both "
        "give the same losses and scores. " + HOW.format(rounds=_rounds(data), machine=machine)
    )
    titles = ("Run", "Comparison", "s", "s, other", "Ratio")
    return _table([Column(title) for title in titles], rows, caption, data)


def growth_table(data: pd.DataFrame, _: BenchmarkPlan, machine: str) -> Table:
    """Return each route beside LoRA r=8, by side and number of tokens, and auto's loss against the best route."""
    ours = data[data["structure"] != "lora"]
    rows = []
    for (setting, structure, side, tokens), part in ours.groupby(
        ["setting", "structure", "side", "tokens"], sort=False
    ):
        ms = part.set_index("route")["ms"]
        single = ms.drop("auto")
        rows.append([
            _named(structure, setting, data), f"{side}", f"{tokens:,}", f"{ms['auto']:.2f}",
            *(f"{ms[route]:.2f}" if route in ms else "" for route in ("dense", "fft", "factored")),
            single.idxmin(), f"{ms['auto'] / single.min():.2f}",
            f"{part.set_index('route').loc['auto', 'ratio']:.2f}",
        ])  # fmt: skip
    columns = [Column(title) for title in ("Structure", "Side", "Tokens", "auto, ms", "dense, ms", "fft, ms")]
    columns += [Column(t) for t in ("factored, ms", "Fastest", "auto ÷ fastest", "auto ÷ LoRA r=8")]
    caption = (
        "Time of forward and backward through one layer, by route. Fastest is the fastest of the routes that one can "
        "choose; auto may combine two routes. "
        + OF_MEDIANS.format(columns="auto ÷ fastest")
        + HOW.format(rounds=_rounds(data), machine=machine)
    )
    return _table(columns, rows, caption, data)


def numerics_table(data: pd.DataFrame, _: BenchmarkPlan, machine: str) -> Table:
    """Return the table of relative errors in fp32."""
    rows = [
        [row["structure"], str(row["side"]), row["route"],
         *(f"{row[key]:.1e}" for key in ("forward", "gradient_x", "gradient"))]
        for _, row in data.iterrows()
    ]  # fmt: skip
    titles = ("Structure", "Side", "Route", "Product", "Gradient, input", "Gradient, parameters")
    caption = (
        "Relative error (Frobenius norm) of every route in fp32, compared with the structure's other route in fp64, "
        f"for the product with the structured matrix alone. Machine: {machine}."
    )
    return _table([Column(title) for title in titles], rows, caption, data)


def unit_cost_table(data: pd.DataFrame, _: BenchmarkPlan, machine: str) -> Table:
    """Return the table of the cost model's unit costs: the values in use and the measured values."""
    rows = [
        [_named(row["unit_cost"], row["setting"], data), f"{row['used']:g}", f"{row['found']:.3g}",
         f"{row['low']:.3g} to {row['high']:.3g}"]
        for _, row in data.iterrows()
    ]  # fmt: skip
    caption = (
        "Unit costs of the cost model (surm_bench/structured/routes.py), in multiply-adds of a large fp32 product: "
        "the values in use, and the values measured in this run (median and range over the sides of a layer). Machine: "
        f"{machine}."
    )
    return _table([Column(t) for t in ("Unit cost", "Used", "Found", "Range")], rows, caption, data)


def target_table(parts: dict[str, pd.DataFrame]) -> Table:
    """Return the table of the project's targets and their measured ratios, in the first of several settings."""
    rows = [
        {"what": what, "limit": limit, "worst": max(values.values()),
         "missed": ", ".join(name for name, value in values.items() if round(value, 2) > limit),
         "each": ", ".join(f"{name} {value:.2f}" for name, value in values.items())}
        for what, values, limit in _targets({name: _first_setting(data) for name, data in parts.items()})
    ]  # fmt: skip
    texts = [
        [row["what"], f"≤ {row['limit']:.2f}", f"{row['worst']:.2f}",
         f"missed: {row['missed']}" if row["missed"] else "met", row["each"]]
        for row in rows
    ]  # fmt: skip
    judged = "; ".join(dict.fromkeys(data["setting"].iloc[0] for data in parts.values() if "setting" in data))
    machines = "; ".join(dict.fromkeys(machine for data in parts.values() for machine in data["machine"]))
    columns = [Column(title) for title in ("What", "Target", "Worst", "Result", "Each")]
    return _table(
        columns,
        texts,
        "A target is met if the ratio, rounded to two decimals, is not above it. Only the first setting of each part "
        f"is judged: {judged}. Machine: {machines}.",
        pd.DataFrame(rows),
    )


def _targets(parts: dict[str, pd.DataFrame]) -> Iterator[tuple[str, dict[str, float], float]]:
    """Yield the name of each comparison, the ratio of every case, and the largest ratio that meets the target."""
    if "layer" in parts:
        cases = parts["layer"].set_index("case")
        time, memory = cases["ratio"], cases["bytes"] / cases.loc[REFERENCE, "bytes"]
        auto = {structure: case_name(structure, "auto") for structure in STRUCTURED}
        auto = {structure: case for structure, case in auto.items() if case in cases.index}  # old data lack new cases
        yield "layer ÷ LoRA r=8", {s: time[case] for s, case in auto.items()}, 1.0
        yield "layer ÷ C3A", {s: time[case] / time[C3A] for s, case in auto.items()}, 0.33
        yield "layer ÷ plain rfft", {"circulant": time[auto["circulant"]] / time[RFFT]}, 0.7
        yield "layer's memory ÷ LoRA r=8", {s: memory[case] for s, case in auto.items()}, 1.0
    for name in ("networks", "residual"):
        for (model, reference), part in _groups(parts.get(name), ["model", "reference"]):
            cases = part.set_index("case")
            others = cases.drop(index=reference)
            yield f"{model} step ÷ {reference}", others["ratio"].to_dict(), 1.0
            if name == "networks":
                memory = others["bytes"] / cases.loc[reference, "bytes"]
                yield f"{model} step's memory ÷ {reference}", memory.to_dict(), 1.0
    if "merged" in parts:
        merged = parts["merged"][parts["merged"]["case"] == "merged"]
        yield "merged inference ÷ plain", merged.set_index("model")["ratio"].to_dict(), 1.0
    if "harness" in parts:
        runs = parts["harness"][parts["harness"]["case"] == HARNESS]
        yield "whole run ÷ bare loop", runs.set_index("model")["ratio"].to_dict(), 1.03


def _groups(data: pd.DataFrame | None, keys: list[str]) -> Iterable:
    return () if data is None else data.groupby(keys, sort=False)


def _first_setting(data: pd.DataFrame) -> pd.DataFrame:
    return data[data["setting"] == data["setting"].iloc[0]]


def _named(name: str, setting: str, data: pd.DataFrame) -> str:
    """Return the name, followed by the setting if the data has several settings."""
    return f"{name} ({setting})" if data["setting"].nunique() > 1 else name


def _spread(row: pd.Series) -> str:
    return f"{row['ratio']:.3f} ({row['ratio_low']:.2f}–{row['ratio_high']:.2f})"


def _rounds(data: pd.DataFrame) -> str:
    low, high = int(data["rounds"].min()), int(data["rounds"].max())
    return str(low) if low == high else f"{low} to {high}"


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]], caption: str, data: pd.DataFrame) -> Table:
    return Table(list(columns), [[Cell(text) for text in row] for row in rows], caption, data)
