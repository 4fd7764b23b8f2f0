"""Shared parts of the figures: style, panels, legends, lines and files."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from surm_bench.errors import UserError
from surm_bench.metrics import Metric
from surm_bench.report.frames import TaskColumn
from surm_bench.report.looks import OTHERS, Look
from surm_bench.system.atomic import atomic

Line = tuple[np.ndarray, np.ndarray, np.ndarray]  # x, y and the spread of y, each (points,)
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
    "svg.hashsalt": "surm-bench",  # so that the same figure gives an identical file
    "pdf.fonttype": 42,  # fonts that can be edited and searched, as publishers require
}


def new_figure(height: float) -> Figure:
    """Return a figure of the common width and the given height in inches."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panel_grid(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of count panels in at most two columns; an unused cell is left for the legend."""
    if not count:
        raise UserError("no finished run can be drawn: finish a run first")
    columns = min(count, 2)
    rows = -(-count // columns)
    figure = new_figure(rows * height)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def add_legend(figure: Figure, grid: list[Axes], used: int, handles: list[Line2D]) -> None:
    """Draw the legend in the unused cell if it fits, otherwise below the panels, and make the figure higher for it."""
    for axes in grid[used:]:
        axes.axis("off")
    look = {"handles": handles, "frameon": False, "handlelength": 3}
    if used < len(grid) and len(handles) <= 16:
        grid[used].legend(loc="center", fontsize=10, ncols=-(-len(handles) // 8), **look)
        return
    for columns in range(min(len(handles), 7), 0, -1):
        legend = figure.legend(loc="outside lower center", ncols=columns, **look)
        width, height = legend.get_window_extent(figure.canvas.get_renderer()).size / DPI
        if width <= WIDTH or columns == 1:
            figure.set_figheight(figure.get_figheight() + height)
            return
        legend.remove()


def name_panel(axes: Axes, panel: TaskColumn) -> None:
    axes.set_title(f"{panel.title}  ({panel.model})")
    axes.set_ylabel(panel.metric.replace("_", " ") + " × 100" * panel.measure.percent)


def handle(look: Look, label: str, line: bool = False) -> Line2D:
    """Return the legend entry of a method."""
    style = {"linestyle": "-" if line else "", "marker": look.marker, "markersize": 7, "markeredgecolor": "white"}
    return Line2D([], [], color=look.color, label=label, **style)


def draw_lines(
    axes: Axes, lines: Mapping[str, Line], looks: Mapping[str, Look], led: Collection[str], measure: Metric
) -> None:
    """Draw the lines of a panel: leading methods with marks and a band of ± spread, the other methods thin and grey.

    A line of a single point is visible, too. A line so far below all others that it would flatten them is left out, and
    a note says so; of errors, the lowest line is the best and stays.
    """
    for label, (x, y, spread) in lines.items():
        if label not in led:
            axes.plot(x, y, color=OTHERS, linewidth=0.9, marker=".", markersize=4, zorder=1.5)
            continue
        color, style = looks[label].color, {"markersize": 6, "markeredgecolor": "white", "linewidth": 1.8}
        axes.plot(x, y, color=color, marker=looks[label].marker, zorder=3, **style)
        axes.fill_between(x, y - spread, y + spread, color=color, alpha=0.13, linewidth=0, zorder=2)
    axes.grid(True)
    if measure.greater_is_better:
        _cut_far_below(axes, {label: y for label, (_, y, _) in lines.items()}, measure)


def line_key(looks: Mapping[str, Look], led: Collection[str], drawn: Collection[str]) -> list[Line2D]:
    """Return the legend entries: methods in colour, in the order of the table, and one entry for the other methods."""
    handles = [handle(looks[label], label, line=True) for label in led]
    if others := len(set(drawn) - set(led)):
        handles.append(Line2D([], [], color=OTHERS, marker=".", label=f"{others} other method{'s' * (others != 1)}"))
    return handles


def axis_cut(axes: Axes, x: float | None = None, y: float | None = None) -> None:
    """Draw two strokes across an axis, where the region beyond is not to scale; the limits must be final."""
    mark = [(-0.7, -1), (0.7, 1)] if y is None else [(-1, -0.7), (1, 0.7)]
    look = {"color": axes.spines["left"].get_edgecolor(), "linestyle": "", "markersize": 9, "clip_on": False}
    corner = axes.get_xlim()[0], axes.get_ylim()[0]
    point = (corner[0] if x is None else x, corner[1] if y is None else y)
    across, up = axes.transAxes.inverted().transform(axes.transData.transform(point))
    apart = (0.006, 0) if y is None else (0, 0.01)
    ends = [across - apart[0], across + apart[0]], [up - apart[1], up + apart[1]]
    axes.plot(*ends, marker=mark, transform=axes.transAxes, **look)


def _cut_far_below(axes: Axes, lines: dict[str, np.ndarray], measure: Metric) -> None:
    lowest = min(lines, key=lambda label: lines[label].max())
    others = np.concatenate([line for label, line in lines.items() if label != lowest] or [lines[lowest]])
    span = max(np.ptp(others), 0.01 * measure.unit)
    if others.min() - lines[lowest].max() > span / 2:
        axes.set_ylim(others.min() - 0.15 * span, others.max() + 0.05 * span)
        text = (
            f"{lowest}: {lines[lowest].min():{measure.form}} to {lines[lowest].max():{measure.form}}, below the panel"
        )
        axes.annotate(text, (0.98, 0.03), xycoords="axes fraction", ha="right", fontsize=9)


def save(figure: Figure, path: str | Path) -> list[Path]:
    """Write the figure as .png, 1600 pixels wide, .svg and .pdf; the same figure gives identical files."""
    undated = {".png": None, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    paths = [Path(path).with_suffix(suffix) for suffix in undated]
    for file in paths:
        with atomic(file) as temporary:
            figure.savefig(temporary, metadata=undated[file.suffix])
    return paths
