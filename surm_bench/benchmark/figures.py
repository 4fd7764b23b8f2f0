"""Figures of step time against layer width and against tokens, and of memory, as PNG, SVG and PDF."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from surm_bench.report.panels import STYLE, add_legend, panel_grid, save
from surm_bench.structured import STRUCTURES

ROUTES = {
    "auto": ("#000000", "-", "o"),
    "dense": ("#0072B2", (0, (5, 1.5)), "s"),
    "fft": ("#D55E00", (0, (1, 1)), "^"),
    "factored": ("#009E73", (0, (1, 1)), "D"),
    "LoRA r=8": ("#8A8A8A", "-", ""),
}


def growth(data: pd.DataFrame, path: Path, against: str) -> list[Path]:
    """Draw a step's milliseconds against "side" or "tokens" on log axes, one panel per structure, a line per route."""
    other = {"side": "tokens", "tokens": "side"}[against]
    structures = [name for name in data["structure"].unique() if name != "lora"]
    lora = data[data["structure"] == "lora"].sort_values(against)
    with mpl.rc_context(STYLE):
        figure, grid = panel_grid(len(structures), height=3.4)
        for axes, structure in zip(grid, structures, strict=False):
            _line(axes, "LoRA r=8", lora, against)
            for route, line in data[data["structure"] == structure].groupby("route", sort=False):
                _line(axes, route, line.sort_values(against), against)
            axes.set(xscale="log", yscale="log", title=STRUCTURES[structure].label, ylabel="ms, forward and backward")
            axes.set_xscale("log", base=2)
            axes.set_xlabel(f"{against} ({other} {int(data[other].iloc[0]):,})")
            axes.grid(True)
        used = [route for route in ROUTES if route in {*data["route"], "LoRA r=8"}]
        handles = [Line2D([], [], label=route, **_look(route)) for route in used]
        add_legend(figure, grid, len(structures), handles)
        return save(figure, path)


def memory(data: pd.DataFrame, path: Path) -> list[Path]:
    """Draw the megabytes of a layer's step, one bar per case."""
    data = data[data["setting"] == data["setting"].iloc[0]].iloc[::-1]
    with mpl.rc_context(STYLE):
        figure, (axes, *_) = panel_grid(1, height=0.26 * len(data) + 1)
        axes.barh(data["case"], data["bytes"] / 1e6, color="#0072B2")
        axes.set_xlabel("MB: module, and the peak of forward and backward beyond it")
        axes.grid(True, axis="x")
        return save(figure, path)


def _line(axes: Axes, route: str, line: pd.DataFrame, against: str) -> None:
    axes.plot(line[against], line["ms"], **_look(route))


def _look(route: str) -> dict:
    color, linestyle, marker = ROUTES[route]
    return {"color": color, "linestyle": linestyle, "marker": marker, "markersize": 4, "linewidth": 1.5}
