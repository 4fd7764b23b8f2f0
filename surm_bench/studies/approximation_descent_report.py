"""The table and the figure of approximation along training, made only from its records. Without torch."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

from surm_bench.report.panels import STYLE, new_figure, save
from surm_bench.report.tables import Cell, Column, Table, marks
from surm_bench.studies import looks
from surm_bench.studies.reporting import mean_and_deviation

CELL = ["member", "stored", "target"]
TWO = "W(G, H), r = 2"
CAPTION = (
    "‖M̂ − M‖ / ‖M‖ in Frobenius norm after {steps:,} steps of Adam, M of {side}×{side}; mean ± sample standard "
    "deviation over {trials} trials. Numbers are those stored; circulant trains twice as many. Near low rank: G·Hᵀ + "
    "{noise}·R, G and H of {rank} columns; sines: rows sin(k·t), k = 1 … {side}, t ~ N(0, 1) for each row, without and "
    "with {noise} noise. W(G, H) is a sum of r products of a circulant and a skew-circulant matrix. The paper's text "
    "names gradient descent; Adam, its rate {rate} that falls to zero by a cosine, the steps, the {rank} columns and "
    "the starts are ours. Bold: best, underlined: second. The paper: W(G, H) of r holds that of every smaller r, from "
    "r = 2 on every Toeplitz matrix, and with r = n every matrix (Theorem A.2); the curves of its Fig. 5 are not at "
    "hand. Here, the error falls with every step of r on {falling} of {targets} targets, W(G, H) of r = 2 is ahead of "
    "Toeplitz on {ahead} of {targets}, and circulant and Toeplitz leave at least {left:.3f}: the order {verdict} the "
    "theorem's."
)


def error_table(records: dict) -> Table:
    """Return the table of members against targets, with the errors after the last step."""
    rows = pd.DataFrame(records["descents"]).assign(error=[row["errors"][-1] for row in records["descents"]])
    data = rows.groupby(CELL, sort=False)["error"].agg(["mean", "std", "size"]).reset_index()
    members = data.drop_duplicates("member")
    columns = [Column("Matrix"), Column("Numbers")]
    contents = [[Cell(name) for name in members["member"]], [Cell(f"{count:,}") for count in members["stored"]]]
    for target, cells in data.groupby("target", sort=False):
        columns.append(Column(target))
        found = marks(list(cells["mean"].round(3)), lowest=True)
        contents.append(
            [
                Cell(mean_and_deviation(row.mean, row.std, "{:.3f}"), mark)
                for row, mark in zip(cells[["mean", "std"]].itertuples(), found, strict=True)
            ]
        )
    return Table(columns, [list(row) for row in zip(*contents, strict=True)], _caption(records["settings"], data), data)


def draw(records: dict, path: Path) -> None:
    """Draw one panel per target and one line per member: the mean error of the trials along training."""
    settings, rows = records["settings"], pd.DataFrame(records["descents"])
    steps = [*range(0, settings["steps"], settings["every"]), settings["steps"]]
    with mpl.rc_context(STYLE):
        figure = new_figure(height=6.4)
        targets = rows.groupby("target", sort=False)
        for axes, (target, cells) in zip(figure.subplots(2, 2).flat, targets, strict=True):
            for color, (name, trials) in zip(looks.COLORS, cells.groupby("member", sort=False), strict=True):
                axes.plot(steps, np.mean(trials["errors"].to_list(), axis=0), color=color, label=name, linewidth=1.8)
            axes.set_title(target)
            axes.set_xlabel("steps")
            axes.set_ylabel("relative Frobenius error")
            axes.grid(True)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", frameon=False, ncols=6)
        save(figure, path)


def _caption(settings: dict, data: pd.DataFrame) -> str:
    means = data.pivot(index="target", columns="member", values="mean")
    of_r = means[[name for name in data["member"].unique() if name.startswith("W(G, H)")]]
    falling = int((of_r.diff(axis=1).iloc[:, 1:] < 0).all(axis=1).sum())
    ahead = int((means[TWO] < means["Toeplitz"]).sum())
    verdict = "is" if falling == ahead == len(means) else "is not"
    left = means[["circulant", "Toeplitz"]].min(axis=None)
    found = {"falling": falling, "ahead": ahead, "targets": len(means), "left": left, "verdict": verdict}
    return CAPTION.format(**settings, **found)
