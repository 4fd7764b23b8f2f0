"""The table and the figures of the pinwheel study, made only from its records. Without torch."""

from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from surm_bench.report.panels import STYLE, new_figure, save
from surm_bench.report.tables import MISSING, Cell, Column, Table, marks
from surm_bench.studies import looks
from surm_bench.studies.pinwheel_data import ARMS, REACH, TEST, sample
from surm_bench.studies.reporting import diverged_of, mean_and_deviation

ARM_COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#8C8C8C")  # after Okabe and Ito
SETTING_TITLES = {
    "from scratch": "From scratch: the hidden matrix is the structured one",
    "adapted": "Adapted: only ΔW of a pretrained network is trained",
}
CAPTION = (
    "A network with two hidden layers of 32 units on a pinwheel of 7 arms. From scratch, the matrix between the "
    "hidden layers is the structured one itself and all other layers are trained with it (frozen: a random matrix; "
    "dense: an ordinary one). Adapted, a network pretrained on the wheel turned by half a sector is changed by ΔW of "
    "that matrix and by nothing else (frozen: not at all; dense: all of the matrix). Accuracy × 100 on fresh points, "
    "loss of the last step on the training points; mean ± sample standard deviation over {seeds} seeds. Numbers are "
    "those of the matrix; stored is the least that has to be kept of them. Rates: {steps} steps of Adam, best mean "
    "accuracy on {tuning} other seeds, of {rates}; chosen at an edge of this grid: {edges}. Bold: best of the four "
    "structures, underlined: second best; {missing}: nothing is trained.{diverged}"
)
REFERENCES = {"frozen": "#9A9A9A", "dense": "#222222"}  # references are grey
CELL = ["setting", "method", "trained", "stored"]
MEANS = ["accuracy", "accuracy_std", "loss", "loss_std"]


def method_looks(records: dict) -> dict[str, dict[str, str]]:
    """Return label and color of each method."""
    found = looks.of(records) | {name: {"label": name, "color": color} for name, color in REFERENCES.items()}
    return found | {"low_rank": found["low_rank"] | {"label": "LoRA r=1"}}


def summary_frame(records: dict) -> pd.DataFrame:
    """Return one row per (setting, method): counts, rate, n, mean and std of accuracy and of the last loss.

    n counts the seeds that did not diverge. If a seed diverged, there is no mean, because the mean over the other seeds
    would flatter the method.
    """
    runs = pd.DataFrame(records["runs"])
    runs["loss"] = [float("nan") if not losses else losses[-1] for losses in runs["losses"]]
    runs["kept"] = runs["loss"].notna() | (runs["losses"].str.len() == 0)  # no losses: nothing is trained
    runs["rate"] = runs["rate"].astype(float)
    data = (
        runs.groupby(CELL, sort=False)
        .agg(
            rate=("rate", "first"),
            n=("kept", "sum"),
            accuracy=("accuracy", "mean"),
            accuracy_std=("accuracy", "std"),
            loss=("loss", "mean"),
            loss_std=("loss", "std"),
        )
        .reset_index()
    )
    data.loc[data["n"] < len(records["settings"]["seeds"]), MEANS] = float("nan")
    return data


def accuracy_text(row: NamedTuple, seeds: int) -> str:
    """Return the accuracy × 100 of a row of summary_frame, or how many of the seeds diverged."""
    if row.n < seeds:
        return diverged_of(row.n, seeds)
    return mean_and_deviation(100 * row.accuracy, 100 * row.accuracy_std, "{:.1f}")


def diverged_methods(records: dict, data: pd.DataFrame) -> str:
    """Name the rows of data in which a seed diverged; the empty text if there is none."""
    seeds, look = len(records["settings"]["seeds"]), method_looks(records)
    rows = data[data["n"] < seeds].itertuples()
    return "; ".join(f"{look[row.method]['label']}, {row.setting} ({diverged_of(row.n, seeds)})" for row in rows)


def at_edge(records: dict, data: pd.DataFrame) -> str:
    """Name the rows of data whose rate is the smallest or the largest of the grid, or say "none"."""
    rates, look = records["settings"]["rates"], method_looks(records)
    rows = data[data["rate"].isin((min(rates), max(rates)))].itertuples()
    return "; ".join(f"{look[row.method]['label']}, {row.setting} ({row.rate:g})" for row in rows) or "none"


def accuracy_table(records: dict) -> Table:
    """Return the table of methods against both settings."""
    data, look = summary_frame(records), method_looks(records)
    settings, methods = list(data["setting"].unique()), list(data["method"].unique())
    columns = [Column("Method"), Column("Trained"), Column("Stored")]
    contents = [[Cell(look[method]["label"]) for method in methods]]
    counts = data.drop_duplicates("method")
    contents += [[Cell(f"{count:,}") for count in counts[name]] for name in ("trained", "stored")]
    for setting in settings:
        cells = data[data["setting"] == setting].set_index("method").loc[methods]
        columns += [Column(title, setting) for title in ("Accuracy", "Loss", "Rate")]
        shown = [
            None if row.Index in REFERENCES or pd.isna(row.accuracy) else round(100 * row.accuracy, 1)
            for row in cells.itertuples()
        ]
        accuracies = [accuracy_text(row, len(records["settings"]["seeds"])) for row in cells.itertuples()]
        contents.append([Cell(*pair) for pair in zip(accuracies, marks(shown), strict=True)])
        contents.append([Cell(MISSING if pd.isna(loss) else f"{loss:.3f}") for loss in cells["loss"]])
        contents.append([Cell(MISSING if pd.isna(rate) else f"{rate:g}") for rate in cells["rate"]])
    rows = [list(row) for row in zip(*contents, strict=True)]
    return Table(columns, rows, _caption(records, data), data)


def draw_regions(records: dict, path: Path, titles: dict[str, str] = SETTING_TITLES) -> None:
    """Draw the decision maps of the first seed with test points, one row per setting, one panel per method."""
    maps = {(region["setting"], region["method"]): region for region in records["regions"]}
    accuracy = {(run["setting"], run["method"], run["seed"]): run["accuracy"] for run in records["runs"]}
    settings, methods = (list(dict.fromkeys(column)) for column in zip(*maps, strict=True))
    look, arms = method_looks(records), records["settings"].get("arms", ARMS)
    with mpl.rc_context(STYLE | {"axes.titlesize": 9.5, "axes.titleweight": "normal", "axes.titlelocation": "center"}):
        figure = new_figure(height=4.4)
        parts = figure.subfigures(len(settings), 1)
        for part, setting in zip(parts, settings, strict=True):
            part.suptitle(titles[setting], fontsize=11, fontweight="bold", x=0.01, ha="left")
            for axes, method in zip(part.subplots(1, len(methods)), methods, strict=True):
                region = maps[setting, method]
                _draw_map(axes, region, arms)
                score = accuracy[setting, method, region["seed"]]
                axes.set_title(f"{look[method]['label']}  {100 * score:.1f}")
        save(figure, path)


def draw_losses(records: dict, path: Path) -> None:
    """Draw training loss against steps, one panel per setting: the median over seeds, in a band of the middle half."""
    settings, look = list(dict.fromkeys(run["setting"] for run in records["runs"])), method_looks(records)
    with mpl.rc_context(STYLE):
        figure = new_figure(height=4.2)
        panels = figure.subplots(1, len(settings), sharey=True)
        for axes, setting in zip(panels, settings, strict=True):
            runs = pd.DataFrame(run for run in records["runs"] if run["setting"] == setting)
            for method, of_method in runs.groupby("method", sort=False):
                steps = of_method["steps"].iloc[0]
                if steps:
                    losses = np.array(of_method["losses"].to_list(), float)
                    low, middle, high = np.nanquantile(losses, (0.25, 0.5, 0.75), axis=0)
                    dashed, color = "--" if method in REFERENCES else "-", look[method]["color"]
                    axes.plot(steps, middle, dashed, color=color, linewidth=1.8, label=look[method]["label"])
                    axes.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
            axes.set_title(setting)
            axes.set_yscale("log")
            axes.set_xlabel("steps")
            axes.grid(True)
        panels[0].set_ylabel("training loss (cross-entropy)")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", frameon=False, ncols=len(names))
        save(figure, path)


def _draw_map(axes: Axes, region: dict, arms: int) -> None:
    classes = np.array([list(map(int, row)) for row in region["rows"]])
    look = {"cmap": ListedColormap(ARM_COLORS), "vmin": -0.5, "vmax": len(ARM_COLORS) - 0.5}
    axes.imshow(classes, origin="lower", extent=(-REACH, REACH, -REACH, REACH), alpha=0.45, **look)
    points, labels = sample([region["seed"], TEST], per_arm=60, arms=arms)
    axes.scatter(*points.T, c=labels, s=1.5, linewidths=0, **look)
    axes.set_xlim(-REACH, REACH)
    axes.set_ylim(-REACH, REACH)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _caption(records: dict, data: pd.DataFrame) -> str:
    settings, diverged = records["settings"], diverged_methods(records, data)
    return CAPTION.format(
        seeds=len(settings["seeds"]),
        steps=settings["steps"],
        tuning=len(settings["tuning_seeds"]),
        rates=", ".join(f"{rate:g}" for rate in settings["rates"]),
        edges=at_edge(records, data),
        missing=MISSING,
        diverged=f" No mean where a seed diverged: {diverged}." if diverged else "",
    )
