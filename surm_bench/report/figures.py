"""Figures from frames and records, each as PNG (1600 pixels wide) and SVG."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from surm_bench.report.frames import CELL, TaskColumn, runs_frame, task_columns
from surm_bench.report.labels import place_labels
from surm_bench.report.panels import (
    MANY,
    STYLE,
    add_legend,
    cut_far_below,
    line_looks,
    name_panel,
    panel_grid,
    panel_height,
    save,
)

FAMILIES = {  # color (distinct for colour-blind readers) and marker
    "structured": ("#0072B2", "o"),
    "LoRA": ("#D55E00", "s"),
    "bottleneck": ("#008A63", "^"),
    "other PEFT": ("#A3488A", "v"),
    "own parameters": ("#5F5F5F", "D"),
}
FRONT, FRONT_WIDTH = "#C4C4C4", 2


def accuracy_against_parameters(
    summary: pd.DataFrame, path: str | Path, tasks: Sequence[str] | None = None
) -> list[Path]:
    """Score against adapter parameters (log), one panel a task, with the front of what nothing smaller beats.

    Error bars are ± one sample standard deviation. Adapters of about equal size are drawn side by side; one without
    parameters is a dashed horizontal line. More than MANY adapters have numbers, which the legend explains.

    Args:
        summary: from summary_frame.
        path: where to write; its suffix is replaced by .png and .svg.
        tasks: the panels in order; None is all tasks by name.
    """
    summary = summary[summary["mean"].notna()]
    panels = _main(task_columns(summary[summary["adapter_parameters"] > 0], tasks))
    names = _names(summary)
    with mpl.rc_context(STYLE):
        figure, grid = panel_grid(len(panels), height=4.1)
        labels = []
        for axes, panel in zip(grid, panels, strict=False):
            labels.append(_scatter(axes, _of(summary, panel), names))
            name_panel(axes, panel)
            axes.set_xlabel("adapter parameters, without the head (equal ones side by side)")
        handles = [_handle(family, family) for family in FAMILIES if family in set(summary["family"])]
        handles.append(Line2D([], [], color=FRONT, linewidth=FRONT_WIDTH, label="front: nothing smaller is better"))
        handles += _key(summary, names)
        add_legend(figure, grid, len(panels), handles)
        figure.canvas.draw()  # settles the layout, on which the places of the labels depend
        figure.set_layout_engine("none")
        for axes, of_panel in zip(grid, labels, strict=False):
            place_labels(axes, **of_panel, fontsize=9)
        return save(figure, path)


def accuracy_against_fraction(
    summary: pd.DataFrame, path: str | Path, tasks: Sequence[str] | None = None
) -> list[Path]:
    """Score against the fraction of train (log), one panel a task that was run on several, one line an adapter.

    Error bars are ± one sample standard deviation.
    """
    summary = summary[summary["mean"].notna() & summary["fraction"].notna() & (summary["split"] == "")]
    several = summary.groupby(["model", "task"])["fraction"].transform("nunique") > 1
    summary = summary[several]
    panels = list(dict.fromkeys(column._replace(setting="") for column in task_columns(summary, tasks)))
    looks = line_looks(summary.sort_values("adapter_parameters", kind="stable")["label"])
    with mpl.rc_context(STYLE):
        figure, grid = panel_grid(len(panels), height=panel_height(3.6, looks))
        for axes, panel in zip(grid, panels, strict=False):
            cells = summary[(summary["model"] == panel.model) & (summary["task"] == panel.task)]
            lines = {}
            for label, line in cells.sort_values("fraction").groupby("label"):
                lines[label], spread = 100 * line["mean"].to_numpy(), 100 * line["std"].fillna(0)
                look = looks[label] | {"markersize": 5, "markeredgecolor": "white", "elinewidth": 1}
                axes.errorbar(line["fraction"], lines[label], spread, **look)
            cut_far_below(axes, lines)
            axes.set_xscale("log")
            fractions = sorted(cells["fraction"].unique())
            axes.set_xticks(fractions, [f"{100 * fraction:g} %" for fraction in fractions])
            axes.minorticks_off()
            name_panel(axes, panel)
            axes.set_xlabel("part of the training set")
            axes.grid(True)
        add_legend(figure, grid, len(panels), [Line2D([], [], label=label, **look) for label, look in looks.items()])
        return save(figure, path)


def learning_curves(records: Iterable[dict], path: str | Path, tasks: Sequence[str] | None = None) -> list[Path]:
    """Primary metric on the reported split against steps, one panel a task and setting, one line an adapter: mean over
    seeds, band ± one sample standard deviation. A setting that diverged on a seed has no line, as it has no mean."""
    records = {record["run_id"]: record for record in records}
    runs = runs_frame(records.values())
    diverged = (runs["status"] == "diverged").groupby([runs[name] for name in CELL]).transform("any")
    runs = runs[(runs["status"] == "success") & ~diverged]
    panels = _main(task_columns(runs, tasks))
    looks = line_looks(runs["label"])  # in the order of the runs, as in the table
    with mpl.rc_context(STYLE):
        figure, grid = panel_grid(len(panels), height=panel_height(3.2, looks))
        for axes, panel in zip(grid, panels, strict=False):
            lines = {}
            for label, rows in _of(runs, panel).groupby("label"):
                points = [
                    (point["step"], point["scores"]["reported"][panel.metric])
                    for run_id in rows["run_id"]
                    for point in records[run_id]["history"]
                ]
                by_step = pd.DataFrame(points, columns=["step", "score"]).groupby("step")["score"]
                curve = 100 * by_step.agg(["mean", "std"])
                look = {name: looks[label][name] for name in ("color", "linestyle", "linewidth")}
                axes.plot(curve.index, curve["mean"], **look)
                lines[label], spread = curve["mean"].to_numpy(), curve["std"].fillna(0)
                low, high = curve["mean"] - spread, curve["mean"] + spread
                axes.fill_between(
                    curve.index, low, high, color=look["color"], alpha=min(0.15, 1 / len(looks)), linewidth=0
                )
            cut_far_below(axes, lines)
            name_panel(axes, panel)
            axes.set_xlabel("optimiser steps")
            axes.grid(True)
        handles = [Line2D([], [], **looks[label] | {"marker": ""}, label=label) for label in looks]
        add_legend(figure, grid, len(panels), handles)
        return save(figure, path)


def pareto_front(parameters: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Indices, by rising parameters, of the points that no point with at most as many parameters reaches."""
    front: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (parameters[i], -scores[i])):
        if not front or scores[i] > scores[front[-1]]:
            front.append(i)
    return front


def side_by_side(parameters: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Where to draw the counts on a log axis: those within a hundredth of each other in a row around their mean, by
    score; all others where they are."""
    logs = np.log10(parameters)
    near, step = np.log10(1.01), 0.015 * max(np.ptp(logs), 1)
    order = np.lexsort([scores, logs])
    groups = np.split(order, np.flatnonzero(np.diff(logs[order]) > near) + 1)
    drawn = np.empty_like(logs)
    for group in groups:
        group = group[np.argsort(scores[group], kind="stable")]
        drawn[group] = logs[group].mean() + step * (np.arange(len(group)) - (len(group) - 1) / 2)
    return 10**drawn


def _names(summary: pd.DataFrame) -> dict[str, str]:
    """What the points of each label are called: itself, or where there are too many its number by size."""
    points = summary[summary["adapter_parameters"] > 0].sort_values(["adapter_parameters", "label"])
    labels = points["label"].unique()
    return {label: str(i) if len(labels) > MANY else label for i, label in enumerate(labels, 1)}


def _key(summary: pd.DataFrame, names: dict[str, str]) -> list[Line2D]:
    """What the numbers mean, in the look of the points."""
    families = summary.set_index("label")["family"].to_dict()
    numbered = {label: name for label, name in names.items() if name != label}
    return [_handle(families[label], f"{number}  {label}") for label, number in numbered.items()]


def _handle(family: str, text: str) -> Line2D:
    color, marker = FAMILIES[family]
    return Line2D([], [], color=color, marker=marker, linestyle="", markersize=7, label=text)


def _scatter(axes: Axes, cells: pd.DataFrame, names: dict[str, str]) -> dict[str, Sequence]:
    """Draw one panel; returns the points and their names for place_labels."""
    axes.set_xscale("log")
    axes.grid(True, axis="y")
    points = cells[cells["adapter_parameters"] > 0]
    x = side_by_side(points["adapter_parameters"].to_numpy(float), points["mean"].to_numpy())
    y, spread = 100 * points["mean"].to_numpy(), 100 * points["std"].fillna(0).to_numpy()
    front = pareto_front(points["adapter_parameters"].to_list(), y.tolist())
    axes.plot(points["adapter_parameters"].to_numpy()[front], y[front], color=FRONT, linewidth=FRONT_WIDTH, zorder=1.2)
    colors = [FAMILIES[family][0] for family in points["family"]]
    for i, family in enumerate(points["family"]):
        look = {"color": colors[i], "marker": FAMILIES[family][1], "markeredgecolor": "white", "markersize": 8}
        axes.errorbar(x[i], y[i], spread[i], elinewidth=1.3, **look)
    room = 10 ** (0.17 * max(np.ptp(np.log10(x)), 1))
    axes.set_xlim(x.min() / room, x.max() * room)
    axes.margins(y=0.14)
    for probe in cells[cells["adapter_parameters"] == 0].itertuples():
        _level(axes, 100 * probe.mean, probe.label, FAMILIES[probe.family][0], (y - spread).min(), (y + spread).max())
    return {"x": x, "y": y, "texts": [names[label] for label in points["label"]], "colors": colors}


def _level(axes: Axes, level: float, label: str, color: str, low: float, high: float) -> None:
    """A dashed line for an adapter without parameters. Far below the others (low to high) it would flatten them: then
    the axis is cut, which two strokes on it and the score beside the label say."""
    shown = level
    if low - level > high - low:
        span = max(high - low, 1)
        shown, cut = low - 0.5 * span, low - 0.3 * span
        label = f"{label} {level:.1f} (axis cut)"
        axes.set_ylim(low - 0.6 * span, high + 0.15 * span)
        axes.set_yticks([tick for tick in axes.get_yticks() if cut < tick < high + 0.15 * span])
        marker = [(-1, -0.7), (1, 0.7)]
        look = {"color": axes.spines["left"].get_edgecolor(), "linestyle": "", "markersize": 9, "clip_on": False}
        axes.plot([0, 0], [cut, cut - 0.03 * span], marker=marker, transform=axes.get_yaxis_transform(), **look)
    axes.axhline(shown, color=color, linestyle=(0, (5, 4)), linewidth=1.2)
    style = {"color": color, "ha": "right", "fontsize": 9}
    axes.annotate(label, (0.99, shown), (0, 3), axes.get_yaxis_transform(), "offset points", **style)


def _main(columns: Iterable[TaskColumn]) -> list[TaskColumn]:
    """Panels are of reported splits alone."""
    return [column for column in columns if not column.split]


def _of(frame: pd.DataFrame, panel: TaskColumn) -> pd.DataFrame:
    """The rows that belong in a panel."""
    return frame[(frame[["model", "task", "setting", "split"]] == list(panel[:4])).all(axis=1)]
