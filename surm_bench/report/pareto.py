"""Score against adapter parameters, with the Pareto front: the best score at each number of parameters."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from surm_bench.metrics import Metric
from surm_bench.report.frames import cells_of, task_columns
from surm_bench.report.labels import place_labels
from surm_bench.report.looks import Look
from surm_bench.report.panels import STYLE, add_legend, axis_cut, handle, name_panel, panel_grid, save
from surm_bench.report.swarm import moved_aside

MANY = 14  # a panel with more methods shows numbers instead of names
FRONT = {"color": "#B8B8B8", "linewidth": 1.6}
MARKER, BAR = 9, 3  # free space around a marker and an error bar, in points


def accuracy_against_parameters(
    summary: pd.DataFrame, looks: Mapping[str, Look], path: str | Path, tasks: Sequence[str] | None = None
) -> list[Path]:
    """Draw the score against adapter parameters (log, with a place for zero), one panel per task, and the Pareto front.

    Error bars are ± one sample standard deviation. Points that would cover each other are moved aside; points of the
    front are never moved. More than MANY methods are shown by numbers, which the legend explains. If no method has
    parameters, nothing is written.

    Args:
        summary: from summary_frame.
        looks: the look of each method, in the order of the table.
        path: where to write; its suffix is replaced.
        tasks: the panels in order; None is all tasks by name.
    """
    summary = summary[summary["mean"].notna()]
    columns = task_columns(summary[summary["adapter_parameters"] > 0], tasks)
    panels = [column for column in columns if not column.split]
    if len(summary) and not panels:  # all methods are without parameters
        return []
    drawn = pd.concat([cells_of(summary, panel) for panel in panels] or [summary])
    shown = [label for label in looks if label in set(drawn["label"])]
    names = {label: str(i) if len(shown) > MANY else label for i, label in enumerate(shown, 1)}
    with mpl.rc_context(STYLE):
        figure, grid = panel_grid(len(panels), height=4.1)
        points_of_panels = [_points(cells_of(summary, panel), panel.measure) for panel in panels]
        for axes, panel, points in zip(grid, panels, points_of_panels, strict=False):
            name_panel(axes, panel)
            axes.set_xlabel("adapter parameters, without the head")
            _limits(axes, points, panel.measure)
        key = [handle(looks[label], label if names[label] == label else f"{names[label]}  {label}") for label in shown]
        add_legend(figure, grid, len(panels), [*key, Line2D([], [], **FRONT, label="Pareto front")])
        figure.canvas.draw()  # fixes the layout, which determines the places of points and labels
        figure.set_layout_engine("none")
        for axes, points in zip(grid, points_of_panels, strict=False):
            _draw(axes, points, looks, names)
        return save(figure, path)


def pareto_front(costs: Sequence[float], scores: Sequence[float], measure: Metric) -> list[int]:
    """Return the indices, by rising cost, of the points whose score no point of the same or lower cost reaches."""
    front: list[int] = []
    rising = [measure.sign * score for score in scores]
    for i in sorted(range(len(scores)), key=lambda i: (costs[i], -rising[i])):
        if not front or rising[i] > rising[front[-1]]:
            front.append(i)
    return front


def staircase(x: Sequence[float], y: Sequence[float], end: float) -> tuple[list[float], list[float]]:
    """Return the corners of the best score so far: level from each point of a front to the next, then to end."""
    ends = [*x[1:], end]
    return [place for pair in zip(x, ends, strict=True) for place in pair], [level for level in y for _ in range(2)]


def log_places(counts: np.ndarray) -> np.ndarray:
    """Return the places of counts (n,) on a log axis: zeros stand a little to the left of the smallest other count."""
    most = max(counts.max(), 1)
    few = counts[counts > 0].min(initial=most)
    nothing = few / 10 ** (0.3 * max(np.log10(most / few), 1))
    return np.where(counts > 0, counts, nothing)


def _points(cells: pd.DataFrame, measure: Metric) -> pd.DataFrame:
    """Return the places of the methods in a panel: label, count, x, y, spread, note, front.

    A method without parameters is placed to the left of the smallest method. If it is far below all others, its true
    place would flatten them: then it is placed a little below them, and a note gives its score.
    """
    counts = cells["adapter_parameters"].to_numpy(float)
    points = pd.DataFrame(
        {
            "label": cells["label"].to_numpy(),
            "count": counts,
            "x": log_places(counts),
            "y": measure.unit * cells["mean"].to_numpy(),
            "spread": measure.unit * cells["std"].fillna(0).to_numpy(),
            "note": "",
        }
    )
    front = pareto_front(points["count"].to_list(), points["y"].to_list(), measure)
    points["front"] = points.index.isin(front)
    others = points[points["count"] > 0]
    low, high = (others["y"] - others["spread"]).min(), (others["y"] + others["spread"]).max()
    far = (points["count"] == 0) & (low - points["y"] > high - low)
    points.loc[far, "note"] = [f" {score:{measure.form}} (axis cut)" for score in points.loc[far, "y"]]
    points.loc[far, ["y", "spread"]] = low - 0.4 * max(high - low, 0.01 * measure.unit), 0
    return points


def _limits(axes: Axes, points: pd.DataFrame, measure: Metric) -> None:
    """Set the scale of a panel: a log axis with a tick for zero parameters, and axis cuts where places are not true."""
    axes.set_xscale("log")
    axes.grid(True, axis="y")
    some = points[points["count"] > 0]
    margin = 10 ** (0.17 * max(np.log10(some["x"].max() / some["x"].min()), 1))
    axes.set_xlim(points["x"].min() / margin**0.6, points["x"].max() * margin)
    low, high = (points["y"] - points["spread"]).min(), (points["y"] + points["spread"]).max()
    margin = 0.12 * max(high - low, 0.01 * measure.unit)
    axes.set_ylim(low - margin, high + margin)
    if len(some) < len(points):
        nothing, few = points["x"].min(), some["x"].min()
        cut = (nothing * few) ** 0.5
        clear = (cut * few) ** 0.5  # further left, ticks would lie on the cut
        decades = 10.0 ** np.arange(np.ceil(np.log10(clear)), np.ceil(np.log10(axes.get_xlim()[1])))
        axes.set_xticks([nothing, *decades], ["0", *(f"$10^{{{round(np.log10(decade))}}}$" for decade in decades)])
        axes.set_xticks([tick for tick in axes.get_xticks(minor=True) if tick > clear], minor=True)
        axis_cut(axes, x=cut)
    if points["note"].any():
        bottom = points["y"].min()
        cut = (bottom + (some["y"] - some["spread"]).min()) / 2
        axes.set_yticks([tick for tick in axes.get_yticks() if cut < tick < axes.get_ylim()[1]])
        axis_cut(axes, y=cut)


def _draw(axes: Axes, points: pd.DataFrame, looks: Mapping[str, Look], names: Mapping[str, str]) -> None:
    """Draw the front, the points and their names; the limits and size of the axes must be final."""
    axes.autoscale(False)
    front = points[points["front"]].sort_values("count")
    axes.plot(*staircase(front["x"].to_list(), front["y"].to_list(), axes.get_xlim()[1]), **FRONT, zorder=1.2)
    points = points.sort_values(["front", "y"], ascending=False)
    x, y = _aside(axes, points), points["y"].to_numpy()
    colors = [looks[label].color for label in points["label"]]
    for i, label in enumerate(points["label"]):
        look = {"color": colors[i], "marker": looks[label].marker, "markeredgecolor": "white", "markersize": 8}
        axes.errorbar(x[i], y[i], points["spread"].iloc[i], elinewidth=1.2, **look)
    texts = [names[label] + note for label, note in zip(points["label"], points["note"], strict=True)]
    place_labels(axes, x, y, texts, colors, fontsize=9)


def _aside(axes: Axes, points: pd.DataFrame) -> np.ndarray:
    """Return the x positions at which to draw the points so that all are visible."""
    places = points[["x", "y"]].to_numpy()
    pixels = axes.transData.transform(places)
    tops = axes.transData.transform(places + [[0, spread] for spread in points["spread"]])
    scale = axes.figure.dpi / 72
    pixels[:, 0] += moved_aside(pixels, tops[:, 1] - pixels[:, 1], MARKER, BAR, scale)
    return axes.transData.inverted().transform(pixels)[:, 0]
