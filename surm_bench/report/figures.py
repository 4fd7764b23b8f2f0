"""Line figures: learning curves, and score against the fraction of the training set."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd

from surm_bench.metrics import Metric
from surm_bench.report.frames import cells_of, rising, task_columns
from surm_bench.report.looks import Look, leading
from surm_bench.report.panels import STYLE, Line, add_legend, draw_lines, line_key, name_panel, panel_grid, save


def learning_curves(
    curves: pd.DataFrame, looks: Mapping[str, Look], path: str | Path, tasks: Sequence[str] | None = None
) -> list[Path]:
    """Draw the primary metric on the reported split against steps, one panel per task and setting, one line per method.

    A line is the mean over seeds, its band ± one sample standard deviation. The leading methods are in colour.

    Args:
        curves: from curves_frame.
        looks: the look of each method, in the order of the table.
        path: where to write; its suffix is replaced.
        tasks: the panels in order; None is all tasks by name.
    """
    panels = task_columns(curves, tasks)
    ordered = curves.assign(mean=rising(curves, "mean")).sort_values("step")
    last = ordered.groupby(["model", "task", "setting", "label"])["mean"].last().unstack()
    led = leading(last, looks)
    with mpl.rc_context(STYLE):
        figure, grid = panel_grid(len(panels), height=3.4)
        for axes, panel in zip(grid, panels, strict=False):
            draw_lines(axes, _lines(cells_of(curves, panel), "step", panel.measure), looks, led, panel.measure)
            name_panel(axes, panel)
            axes.set_xlabel("optimiser steps")
        add_legend(figure, grid, len(panels), line_key(looks, led, set(curves["label"])))
        return save(figure, path)


def accuracy_against_fraction(
    summary: pd.DataFrame, looks: Mapping[str, Look], path: str | Path, tasks: Sequence[str] | None = None
) -> list[Path]:
    """Draw the score against the fraction of the training set (log), one panel per task, one line per method.

    A task has a panel if it was run on several fractions. A line is the mean over seeds, its band ± one sample standard
    deviation. The leading methods are in colour.

    Args:
        summary: from summary_frame.
        looks: the look of each method, in the order of the table.
        path: where to write; its suffix is replaced.
        tasks: the panels in order; None is all tasks by name.
    """
    summary = summary[summary["mean"].notna() & summary["fraction"].notna() & (summary["split"] == "")]
    summary = summary[summary.groupby(["model", "task"])["fraction"].transform("nunique") > 1]
    panels = list(dict.fromkeys(column._replace(setting="") for column in task_columns(summary, tasks)))
    ordered = summary.assign(mean=rising(summary, "mean"))
    led = leading(ordered.pivot_table(index=["model", "task", "fraction"], columns="label", values="mean"), looks)
    with mpl.rc_context(STYLE):
        figure, grid = panel_grid(len(panels), height=3.8)
        for axes, panel in zip(grid, panels, strict=False):
            cells = summary[(summary["model"] == panel.model) & (summary["task"] == panel.task)]
            draw_lines(axes, _lines(cells, "fraction", panel.measure), looks, led, panel.measure)
            axes.set_xscale("log")
            fractions = sorted(cells["fraction"].unique())
            axes.set_xticks(fractions, [f"{100 * fraction:g} %" for fraction in fractions])
            axes.minorticks_off()
            name_panel(axes, panel)
            axes.set_xlabel("part of the training set")
        add_legend(figure, grid, len(panels), line_key(looks, led, set(summary["label"])))
        return save(figure, path)


def _lines(cells: pd.DataFrame, x: str, measure: Metric) -> dict[str, Line]:
    """Return, by label, the line (x, mean, standard deviation) to draw from a panel's cells, in the metric's unit."""
    lines = cells.sort_values(x).assign(std=cells["std"].fillna(0)).groupby("label")
    units = [[1], [measure.unit], [measure.unit]]
    return {label: tuple(line[[x, "mean", "std"]].to_numpy(float).T * units) for label, line in lines}
