"""The table and the figure of the study of approximation, made only from its records. Without torch."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from surm_bench.report.panels import STYLE, new_figure, save
from surm_bench.report.tables import MISSING, Cell, Column, Table, marks
from surm_bench.studies import looks
from surm_bench.studies.reporting import mean_and_deviation

CAPTION = (
    "Relative Frobenius error of approximating {side}×{side} matrices; mean ± sample standard deviation over {trials} "
    "trials. Each structure is fitted by gradients from its own start ({method}, at most {iterations} iterations, "
    "which {stopped} of {fits} fits used up). Gap: the largest excess of a fit over the closed form of the nearest "
    "member ({missing}: it has none). Trained and stored are numbers, stored the least to keep; those that a product "
    "leaves undetermined (r times r of low rank, one of Kronecker) are counted. Larger budgets: a larger r, or sums of "
    "Kronecker products; the other structures have no such knob. Bold: best of a budget, underlined: second best. "
    "{psd}"
)
PSD = (
    "On random PSD targets with {numbers} trained numbers, low rank is the worst in {last} of {trials} trials; best "
    "first by the mean: {order}."
)
IDENTITY = "multiple of the identity"
SIZES = {"r": " r={}", "terms": " × {}", None: ""}  # the budget in a label, by the structure's growth
STEP = 0.14  # distance between two structures in a band of the figure
CELL = ["budget", "structure", "trained", "stored", "target"]


def summary_frame(fits: pd.DataFrame) -> pd.DataFrame:
    """Return one row per (budget, structure, target).

    A row has n trials, mean and std of the fitted error, mean of the closed form's error, and the largest gap.
    """
    fits = fits.assign(closed_form=fits["closed_form"].astype(float))
    fits["gap"] = fits["fitted"] - fits["closed_form"]
    return (
        fits.groupby(CELL, sort=False)
        .agg(
            n=("trial", "size"),
            fitted=("fitted", "mean"),
            fitted_std=("fitted", "std"),
            closed_form=("closed_form", "mean"),
            largest_gap=("gap", "max"),
            most_iterations=("iterations", "max"),
        )
        .reset_index()
    )


def error_table(records: dict) -> Table:
    """Return the table of structures against targets, one budget after the other."""
    fits = pd.DataFrame(records["fits"])
    data = summary_frame(fits)
    targets = list(data["target"].unique())
    columns = [Column(title) for title in ("Structure", "Trained", "Stored", *targets, "Gap")]
    identity = pd.DataFrame(records["identity"]).groupby("target")["error"].agg(["mean", "std"]).loc[targets]
    errors = [Cell(mean_and_deviation(row.mean, row.std, "{:.3f}")) for row in identity.itertuples()]
    rows = [[Cell(IDENTITY), Cell("1"), Cell("1"), *errors, Cell(MISSING)]]
    for _, of_budget in data.groupby("budget", sort=False):
        best = {target: _marks(cells["fitted"].round(3)) for target, cells in of_budget.groupby("target")}
        for _, cells in of_budget.groupby("structure", sort=False):
            found = [best[row.target].get(round(row.fitted, 3), "") for row in cells.itertuples()]
            errors = [mean_and_deviation(row.fitted, row.fitted_std, "{:.3f}") for row in cells.itertuples()]
            gap = cells["largest_gap"].max()
            first = cells.iloc[0]
            declared = records["structures"][first["structure"]]
            size = SIZES[declared["growth"]].format(first["budget"])
            row = [Cell(declared["label"] + size), Cell(f"{first['trained']:,}"), Cell(f"{first['stored']:,}")]
            row += [Cell(text, mark) for text, mark in zip(errors, found, strict=True)]
            rows.append([*row, Cell(MISSING if pd.isna(gap) else f"{max(gap, 0):.0e}")])
    return Table(columns, rows, _caption(records, fits), data)


def places(cells: pd.DataFrame, side: int, structures: Sequence[str]) -> pd.Series:
    """Return the x position of each cell of a panel.

    Each multiple of side that is stored has a band, numbered from 0. Toeplitz stores one number fewer and is in the
    band of 2 · side. Within a band the structures stand side by side around the middle, in the given order.
    """
    bands = (cells["stored"] / side).apply(np.ceil).rank(method="dense") - 1
    order = cells["structure"].map(list(structures).index).groupby(bands).rank()
    return bands + STEP * (order - order.groupby(bands).transform("mean"))


def draw_errors(axes: Axes, cells: pd.DataFrame, side: int, look: dict[str, dict[str, str]]) -> None:
    """Draw the fitted errors in bands of equal width, with a faint line per structure and dashes for closed forms."""
    cells = cells.assign(place=places(cells, side, list(look)))
    for structure, points in cells.groupby("structure", sort=False):
        style = look[structure] | {"linestyle": "", "markersize": 8, "markeredgecolor": "white", "elinewidth": 1.2}
        axes.errorbar(points["place"], points["fitted"], points["fitted_std"].fillna(0), **style)
        axes.plot(points["place"], points["fitted"], color=style["color"], linewidth=1, alpha=0.4, zorder=1)
        axes.scatter(points["place"], points["closed_form"], s=60, color="black", marker="_", linewidths=1.4, zorder=3)
    counts = cells.groupby(cells["place"].round())["stored"].max()
    axes.set_xticks(counts.index, [f"{count:,}" for count in counts])
    axes.set_xlim(-0.5, len(counts) - 0.5)
    for border in counts.index[1:] - 0.5:
        axes.axvline(border, color="#E6E6E6", linewidth=0.8, zorder=0)


def draw(records: dict, path: Path) -> None:
    """Draw one panel per target."""
    side, data = records["settings"]["side"], summary_frame(pd.DataFrame(records["fits"]))
    identity = pd.DataFrame(records["identity"]).groupby("target")["error"].mean()
    targets, look = list(data["target"].unique()), looks.of(records)
    with mpl.rc_context(STYLE):
        figure = new_figure(height=7.2)
        grid = figure.subplots(2, 2, squeeze=False)
        for axes, target in zip(grid.flat, targets, strict=True):
            draw_errors(axes, data[data["target"] == target], side, look)
            axes.axhline(identity[target], color="#888888", linestyle="--", linewidth=1, label=IDENTITY, zorder=1)
            axes.set_title(target)
            axes.grid(True, axis="y")
        for axes in grid[-1]:
            axes.set_xlabel(f"numbers stored, of {side * side:,}")
        for axes in grid[:, 0]:
            axes.set_ylabel("relative Frobenius error")
        handles = dict(zip(*reversed(grid[0, 0].get_legend_handles_labels()), strict=True))
        dash = Line2D([], [], color="black", marker="_", linestyle="", markersize=8, label="closed form")
        labels = [one["label"] for one in look.values() if one["label"] in handles]
        handles = [*(handles[label] for label in labels), dash, handles[IDENTITY]]
        figure.legend(handles=handles, loc="outside lower center", frameon=False, ncols=4)
        save(figure, path)


def _marks(errors: pd.Series) -> dict[float, str]:
    """Return the mark of each error in the table."""
    return dict(zip(errors, marks(list(errors), lowest=True), strict=True))


def _caption(records: dict, fits: pd.DataFrame) -> str:
    settings, structures = records["settings"], records["structures"]
    psd = fits[(fits["target"] == "random PSD") & (fits["budget"] == 1)]
    errors = psd.pivot(index="trial", columns="structure", values="fitted")
    order = ", ".join(f"{structures[name]['label']} {error:.3f}" for name, error in errors.mean().sort_values().items())
    sentence = PSD.format(
        numbers=2 * settings["side"],
        last=int((errors.idxmax(axis=1) == "low_rank").sum()),
        trials=len(errors),
        order=order,
    )
    stopped = int((fits["iterations"] >= settings["iterations"]).sum())
    return CAPTION.format(**settings, missing=MISSING, stopped=stopped, fits=len(fits), psd=sentence)
