"""The table and the figure of approximation along training, from its records alone. No torch here."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

from surm_bench.report.panels import STYLE, save
from surm_bench.report.tables import Cell, Column, Table, marks, write_table
from surm_bench.studies import looks, measurements

CELL = ["member", "stored", "target"]
CAPTION = (
    "‖M̂ − M‖ / ‖M‖ in Frobenius norm after {steps:,} steps of Adam, M of {side}×{side}; mean ± sample standard "
    "deviation over {trials} trials. Near low rank: G·Hᵀ + {noise}·R, G and H of {rank} columns; sines: rows "
    "sin(k·t), k = 1 … {side}, t ~ N(0, 1) for each row, without and with {noise} noise. W(G, H) is a sum of r "
    "products of a circulant and a skew-circulant matrix. The paper's text names gradient descent; Adam, its rate "
    "{rate} that falls to zero by a cosine, the steps, the {rank} columns and the starts are ours. Bold: best, "
    "underlined: second."
)


def write(folder: Path) -> Table:
    """Write table.{md,tex,csv} and error_along_training.{png,svg,pdf} beside measurements.json; return the table."""
    records = measurements.read(folder / "measurements.json")
    table = error_table(records)
    write_table(table, folder, "table")
    draw(records, folder / "error_along_training")
    return table


def error_table(records: dict) -> Table:
    """Members against targets, the errors after the last step."""
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
                Cell(f"{r.mean:.3f} ± {r.std:.3f}", m)
                for r, m in zip(cells[["mean", "std"]].itertuples(), found, strict=True)
            ]
        )
    return Table(
        columns, [list(row) for row in zip(*contents, strict=True)], CAPTION.format(**records["settings"]), data
    )


def draw(records: dict, path: Path) -> None:
    """A panel a target: the mean error of the trials along training, a line a member."""
    settings, rows = records["settings"], pd.DataFrame(records["descents"])
    steps = [*range(0, settings["steps"], settings["every"]), settings["steps"]]
    with mpl.rc_context(STYLE):
        figure = looks.new_figure(height=6.4)
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
