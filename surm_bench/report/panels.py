"""What the figures share: their style, their panels and legends, the look of lines."""

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from surm_bench.atomic import atomic
from surm_bench.errors import UserError
from surm_bench.report.frames import TaskColumn

MANY = 14  # adapters that a panel has no room to name
# Okabe and Ito's palette without its yellow, by dashes: 35 lines that differ, neighbours in colour.
LINE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = "os^vDp<>h"
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


def panel_grid(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with room for count panels in at most two columns; a cell left over is there for the legend."""
    if not count:
        raise UserError("no finished run to draw")
    columns = min(count, 2)
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH, rows * height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def panel_height(inches: float, labels: Collection) -> float:
    """Of a panel: more for many lines."""
    return inches * (1.35 if len(labels) > MANY else 1)


def add_legend(figure: Figure, grid: list[Axes], used: int, handles: list[Line2D]) -> None:
    """In the cell that is left over where it fits, otherwise below the panels, for which the figure grows."""
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
    axes.set_ylabel(f"{panel.metric.replace('_', ' ')} × 100")


def line_looks(labels: Iterable[str]) -> dict[str, dict]:
    """A line for each label; colours run first, then dashes, so that neighbours in the legend differ most."""
    colors = len(LINE_COLORS)
    return {
        label: {
            "color": LINE_COLORS[i % colors],
            "linestyle": DASHES[i // colors % len(DASHES)],
            "marker": MARKERS[i % len(MARKERS)],
            "linewidth": 1.6,
        }
        for i, label in enumerate(dict.fromkeys(labels))
    }


def cut_far_below(axes: Axes, lines: dict[str, np.ndarray]) -> None:
    """Leave out of the panel what lies so far below all other lines that it would flatten them, and say so."""
    lowest = min(lines, key=lambda label: lines[label].max())
    others = np.concatenate([line for label, line in lines.items() if label != lowest] or [lines[lowest]])
    span = max(np.ptp(others), 1)
    if others.min() - lines[lowest].max() > span / 2:
        axes.set_ylim(others.min() - 0.15 * span, others.max() + 0.05 * span)
        text = f"{lowest}: {lines[lowest].min():.1f} to {lines[lowest].max():.1f}, below the panel"
        axes.annotate(text, (0.98, 0.03), xycoords="axes fraction", ha="right", fontsize=9)


def save(figure: Figure, path: str | Path) -> list[Path]:
    paths = [Path(path).with_suffix(suffix) for suffix in (".png", ".svg")]
    for file in paths:
        with atomic(file) as temporary:
            figure.savefig(temporary, metadata={"Date": None} if file.suffix == ".svg" else None)
    return paths
