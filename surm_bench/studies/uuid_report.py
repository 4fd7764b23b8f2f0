"""The table and the figure of the UUID pairs, made only from their records. Without torch."""

from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd

from surm_bench.report.panels import STYLE, new_figure, save
from surm_bench.report.tables import MISSING, Cell, Column, Table, marks
from surm_bench.statistics.intervals import Interval, mean_interval, paired_difference
from surm_bench.studies import looks
from surm_bench.studies.reporting import diverged_of

LABELS = {"ldr": "W(G, H)", "lora": "LoRA"}
LINES = {"ldr": "-", "lora": "--"}
CELL = ["place", "method", "r"]
CAPTION = (
    "Cross-entropy of the values' tokens in nats, and the pairs × 100 whose value greedy decoding says without a "
    "mistake, after {steps:,} steps on {pairs:,} pairs of random UUIDs: mean and 95 % interval (Student's t) over "
    "{seeds} seeds, each with pairs of its own. Numbers are those trained; W(G, H) has {equal}. Bold: lowest loss of "
    "the same layers, underlined: second. W(G, H) of r = {rank} against LoRA, differences of the loss by seed, below 0 "
    "where W(G, H) is ahead: {findings}."
)
PROTOCOL = (
    "Adam, {batch:,} pairs a step, its rate falling to zero by a cosine, chosen for every cell by the loss on {tuning} "
    "other seed(s), of {rates}; chosen at an edge of this grid: {edges}. The scale of ΔW is 1 for every r. {model} "
    "The paper memorises 10,000 pairs with Llama-2-7B, with W(G, H) of r = 4 on the linear layers of attention, "
    "beside LoRA of r = 256 and MoRA (Fig. 8, B.1). Its curves are not at hand, so that only its question is "
    "answered here. Ours are the model's size, the pairs, LoRA of equal r, all linear layers, steps, rates and seeds; "
    "MoRA is left out."
)
SMALL = (
    "The model: a decoder of Llama's architecture ({layers} layers, width {width}, a token a character), trained whole "
    "for {steps:,} steps on {pairs} other pairs from random weights (its loss on them: {before:.2f} to {after:.2f}), "
    "then frozen."
)


def summary_frame(records: dict) -> pd.DataFrame:
    """Return one row per (place, method, r): trained numbers, rate, n, and the final loss and exact match.

    Loss and exact match have a mean and the ends of its interval; n counts the seeds with a finite loss. If a seed
    diverged, there is no mean, because the mean over the other seeds would flatter the method.
    """
    rows = []
    for cell, runs in _runs(records).groupby(CELL, sort=False):
        first, row = runs.iloc[0], dict(zip(CELL, cell, strict=True))
        row |= {"trained": first["trained"], "rate": first["rate"]}
        finite = np.isfinite(_last(runs, "loss"))
        row["n"] = int(finite.sum())
        for name in ("loss", "exact"):
            interval = mean_interval(_last(runs, name) if finite.all() else [])
            row |= {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
        rows.append(row)
    return pd.DataFrame(rows)


def memory_table(records: dict) -> Table:
    """Return the table of methods, layers after layers: numbers, rate, loss and exact match."""
    data, body, seeds = summary_frame(records), [], len(records["settings"]["seeds"])
    for place, cells in data.groupby("place", sort=False):
        found = marks([None if pd.isna(loss) else round(loss, 3) for loss in cells["loss"]], lowest=True)
        for row, mark in zip(cells.itertuples(), found, strict=True):
            loss, exact = _measured(row) if row.n == seeds else (diverged_of(row.n, seeds), MISSING)
            texts = [place if row.Index == cells.index[0] else "", _label(row.method, row.r), f"{row.trained:,}"]
            body.append([*map(Cell, texts), Cell(f"{row.rate:g}"), Cell(loss, mark), Cell(exact)])
    titles = ("Layers", "ΔW", "Numbers", "Rate", "Loss", "Exact match")
    return Table(
        [Column(title) for title in titles], body, _caption(records, data), data, protocol=_protocol(records, data)
    )


def draw(records: dict, path: Path) -> None:
    """Draw one column per place: loss above, exact match below, along training; the mean and the range of the seeds."""
    runs = _runs(records)
    colors = dict(zip(records["settings"]["ranks"], (looks.COLORS[i] for i in (0, 2, 5)), strict=False))
    with mpl.rc_context(STYLE):
        figure = new_figure(height=6.2)
        grid = figure.subplots(2, runs["place"].nunique(), squeeze=False, sharex=True, sharey="row")
        for column, (place, of_place) in zip(grid.T, runs.groupby("place", sort=False), strict=True):
            for (_, method, r), cells in of_place.groupby(CELL, sort=False):
                steps, color = cells["steps"].iloc[0], colors.get(r, "#555555")
                for axes, name, scale in zip(column, ("loss", "exact"), (1, 100), strict=True):
                    curves = scale * np.array(cells[name].to_list(), float)
                    style = {"color": color, "linestyle": LINES[method], "linewidth": 1.7}
                    axes.plot(steps, curves.mean(axis=0), label=_label(method, r), **style)
                    axes.fill_between(steps, curves.min(axis=0), curves.max(axis=0), color=color, alpha=0.1, lw=0)
                    axes.grid(True)
            column[0].set_title(f"ΔW on {place}")
            column[-1].set_xlabel("steps")
        grid[0, 0].set_ylabel("loss (nats a token)")
        grid[1, 0].set_ylabel("exact match × 100")
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", frameon=False, ncols=len(names))
        save(figure, path)


def _runs(records: dict) -> pd.DataFrame:
    return pd.DataFrame(records["runs"])


def _last(runs: pd.DataFrame, name: str) -> np.ndarray:
    """Return the values after the last step, in the order of seeds; NaN where a run diverged."""
    return np.array([curve[-1] for curve in runs.sort_values("seed")[name]], float)


def _measured(row: NamedTuple) -> tuple[str, str]:
    """Return the loss and the exact match of a row of summary_frame, each with its interval."""
    low, high = (np.clip(100 * end, 0, 100) for end in (row.exact_low, row.exact_high))
    loss = f"{row.loss:.3f} ({row.loss_low:.3f} to {row.loss_high:.3f})"
    return loss, f"{100 * row.exact:.0f} ({low:.0f} to {high:.0f})"


def _label(method: str, r: int) -> str:
    return f"{LABELS[method]} r={r}"


def _caption(records: dict, data: pd.DataFrame) -> str:
    settings, counts = records["settings"], data.set_index(CELL)["trained"]
    rank, pairs = max(settings["ranks"]), [(place, r) for place in data["place"].unique() for r in settings["ranks"]]
    same = all(counts[place, "ldr", r] == counts[place, "lora", r] for place, r in pairs)
    return CAPTION.format(
        steps=settings["steps"],
        pairs=settings["pairs"],
        seeds=len(settings["seeds"]),
        rank=rank,
        equal="as many as LoRA of the same r" if same else "other numbers than LoRA of the same r",
        findings="; ".join(_finding(records, place, rank) for place in data["place"].unique()),
    )


def _finding(records: dict, place: str, rank: int) -> str:
    """Compare the largest W(G, H) with LoRA of the same r and LoRA of the large r, in a sentence."""
    cells = {key: runs for key, runs in _runs(records).groupby(CELL)}
    own, parts = cells[place, "ldr", rank], []
    for r in dict.fromkeys((rank, records["settings"]["large"])):
        other = cells[place, "lora", r]
        found = paired_difference(_last(own, "loss"), _last(other, "loss"))
        times = other["trained"].iloc[0] / own["trained"].iloc[0]
        other_is = f"r = {r}, {times:.3g} times the numbers"
        if found.n_missing:
            parts.append(f"none of {other_is}: a seed diverged")
        else:
            difference = f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
            parts.append(f"{difference} of {other_is}: {_verdict(found)}")
    return f"on {place}, {', '.join(parts)}"


def _verdict(difference: Interval) -> str:
    if difference.high < 0:
        return "ahead"
    return "behind" if difference.low > 0 else "undecided"


def _protocol(records: dict, data: pd.DataFrame) -> str:
    settings = records["settings"]
    rates = settings["rates"]
    at_edge = data[data["rate"].isin((min(rates), max(rates)))]
    edges = [f"{_label(row.method, row.r)} on {row.place} ({row.rate:g})" for row in at_edge.itertuples()]
    return PROTOCOL.format(
        batch=settings["batch"],
        tuning=len(settings["tuning_seeds"]),
        rates=", ".join(f"{rate:g}" for rate in rates),
        edges="; ".join(edges) or "none",
        model=_model(records),
    )


def _model(records: dict) -> str:
    if "pretraining" not in records:
        return f"The model: {records['model']}."
    shape, settings, course = records["architecture"], records["pretraining_settings"], records["pretraining"]
    return SMALL.format(
        layers=shape["num_hidden_layers"],
        width=shape["hidden_size"],
        steps=settings["steps"],
        pairs=settings["pairs"],
        before=course[0]["loss"],
        after=course[-1]["loss"],
    )
