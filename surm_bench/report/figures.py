"""Figures from frames and records, each as PNG (1600 pixels wide) and SVG."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from surm_bench.errors import UserError
from surm_bench.records import atomic
from surm_bench.report.frames import runs_frame, task_columns
from surm_bench.report.labels import place_labels

FAMILIES = {  # color (distinct for colour-blind readers) and marker
    "structured": ("#0072B2", "o"),
    "LoRA": ("#D55E00", "s"),
    "bottleneck": ("#008A63", "^"),
    "other": ("#5F5F5F", "D"),
}
FRONT, FRONT_WIDTH = "#C4C4C4", 2
WIDTH, DPI = 10, 160  # inches and pixels per inch
STYLE = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#888888",
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "svg.hashsalt": "surm-bench",  # the same figure is the same file
}


def accuracy_against_parameters(
    summary: pd.DataFrame, path: str | Path, tasks: Sequence[str] | None = None
) -> list[Path]:
    """Score against adapter parameters (log), one panel a task, with the front of what nothing smaller beats.

    Error bars are ± one sample standard deviation. Adapters of about equal size are drawn side by side; one without
    parameters is a dashed horizontal line.

    Args:
        summary: from summary_frame.
        path: where to write; its suffix is replaced by .png and .svg.
        tasks: the panels in order; None is all tasks by name.
    """
    panels = task_columns(summary[summary["adapter_parameters"] > 0], tasks)
    with mpl.rc_context(STYLE):
        figure, grid = _panels(len(panels), height=4.1)
        labels = []
        for axes, (model, task) in zip(grid, panels, strict=False):
            cells = summary[(summary["model"] == model) & (summary["task"] == task)]
            labels.append(_scatter(axes, cells))
            _name(axes, model, task, cells["metric"].iloc[0])
            axes.set_xlabel("adapter parameters, without the head (equal ones side by side)")
        handles = [
            Line2D([], [], color=color, marker=marker, linestyle="", markersize=7, label=family)
            for family, (color, marker) in FAMILIES.items()
            if family in set(summary["family"])
        ]
        handles.append(Line2D([], [], color=FRONT, linewidth=FRONT_WIDTH, label="front: nothing smaller is better"))
        _legend(figure, grid, len(panels), handles)
        figure.canvas.draw()  # settles the layout, on which the places of the labels depend
        figure.set_layout_engine("none")
        for axes, of_panel in zip(grid, labels, strict=False):
            place_labels(axes, **of_panel, fontsize=9)
        return _save(figure, path)


def learning_curves(records: Iterable[dict], path: str | Path, tasks: Sequence[str] | None = None) -> list[Path]:
    """Primary metric against steps, one panel a task, one line an adapter: mean over seeds, band ± one deviation."""
    records = [record for record in records if record["status"] == "success"]
    runs = runs_frame(records)
    panels = task_columns(runs, tasks)
    labels = list(dict.fromkeys(runs["label"]))  # in the order of the runs, as in the table
    colors = {label: mpl.colormaps["tab20"](i % 20) for i, label in enumerate(labels)}
    with mpl.rc_context(STYLE):
        figure, grid = _panels(len(panels), height=3.2)
        for axes, (model, task) in zip(grid, panels, strict=False):
            chosen = runs[(runs["model"] == model) & (runs["task"] == task)]
            metric = chosen["metric"].iloc[0]
            for label, rows in chosen.groupby("label").groups.items():
                points = pd.DataFrame([epoch for row in rows for epoch in records[row]["history"]])
                curve = 100 * points.groupby("step")[metric].agg(["mean", "std"])
                axes.plot(curve.index, curve["mean"], color=colors[label], linewidth=1.6)
                spread = curve["std"].fillna(0)
                low, high = curve["mean"] - spread, curve["mean"] + spread
                axes.fill_between(curve.index, low, high, color=colors[label], alpha=0.15, linewidth=0)
            _name(axes, model, task, metric)
            axes.set_xlabel("optimiser steps")
            axes.grid(True)
        handles = [Line2D([], [], color=colors[label], linewidth=2, label=label) for label in labels]
        _legend(figure, grid, len(panels), handles)
        return _save(figure, path)


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


def _scatter(axes: Axes, cells: pd.DataFrame) -> dict[str, Sequence]:
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
    return {"x": x, "y": y, "texts": points["label"].to_list(), "colors": colors}


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


def _panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with room for count panels in at most two columns; a cell left over is there for the legend."""
    if not count:
        raise UserError("no finished run to draw")
    columns = min(count, 2)
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH, rows * height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _legend(figure: Figure, grid: list[Axes], used: int, handles: list[Line2D]) -> None:
    """In the cell that is left over, otherwise below the panels."""
    for axes in grid[used:]:
        axes.axis("off")
        axes.legend(handles=handles, loc="center", frameon=False, fontsize=10, ncols=-(-len(handles) // 8))
    if used == len(grid):
        figure.legend(handles=handles, loc="outside lower center", frameon=False, ncols=min(len(handles), 5))


def _name(axes: Axes, model: str, task: str, metric: str) -> None:
    axes.set_title(f"{task.rpartition('/')[2]}  ({model})")
    axes.set_ylabel(f"{metric.replace('_', ' ')} × 100")


def _save(figure: Figure, path: str | Path) -> list[Path]:
    paths = [Path(path).with_suffix(suffix) for suffix in (".png", ".svg")]
    for file in paths:
        with atomic(file) as temporary:
            figure.savefig(temporary, metadata={"Date": None} if file.suffix == ".svg" else None)
    return paths
