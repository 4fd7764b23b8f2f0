"""Expected validation performance: how good a method is after a number of settings has been tried."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

from surm_bench.metrics import metric_shown_as
from surm_bench.report.looks import Look, leading
from surm_bench.report.panels import STYLE, add_legend, draw_lines, line_key, panel_grid, save
from surm_bench.statistics import expected_maximum


def expected_validation(scores: pd.DataFrame, looks: Mapping[str, Look], path: str | Path) -> list[Path]:
    """Draw the expected best score of n settings, one panel per task and one line per method.

    The settings are drawn from those that tuning tried with full-length trials (Dodge et al., 2019, arXiv 1909.03004).
    Short trials are left out. The leading methods are in colour.

    Args:
        scores: one row per trial and seed: task, label, metric, setting, full, seed, score.
        looks: the look of each method, in the order of the table.
        path: where to write; its suffix is replaced. Without a full trial nothing is written.
    """
    full = full_trials(scores)
    if full.empty:
        return []
    curves = {task: expected_curves(of_task) for task, of_task in full.groupby("task", sort=False)}
    measures = {task: metric_shown_as(metric) for task, metric in full.groupby("task")["metric"].first().items()}
    best = {task: {label: measures[task].sign * c[-1] for label, c in found.items()} for task, found in curves.items()}
    led = leading(pd.DataFrame(best).T, looks)
    with mpl.rc_context(STYLE):
        figure, grid = panel_grid(len(curves), height=3.4)
        for axes, (task, found) in zip(grid, curves.items(), strict=False):
            unit = measures[task].unit
            lines = {label: (1 + np.arange(len(curve)), unit * curve, 0 * curve) for label, curve in found.items()}
            draw_lines(axes, lines, looks, led, measures[task])
            axes.set_title(task)
            axes.set_xlabel("settings tried in full, scored on rows held out")
            axes.set_ylabel(f"expected best score{' × 100' * measures[task].percent}")
            axes.xaxis.get_major_locator().set_params(integer=True)
        add_legend(figure, grid, len(curves), line_key(looks, led, set(full["label"])))
        return save(figure, path)


def full_trials(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of the full trials, for the tasks where at least one full trial has a score."""
    full = scores[scores["full"]]
    return full[full.groupby("task")["score"].transform("count") > 0]


def expected_curves(scores: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return, by label, the expected best score of n = 1, 2, … settings of one task.

    A setting counts with its mean over the seeds. A setting that diverged on a seed counts as the worst score of any
    method on the task.

    Args:
        scores: as in expected_validation, of one task.
    """
    sign = metric_shown_as(scores["metric"].iloc[0]).sign  # the best of errors is the least
    scores = scores.assign(score=sign * scores["score"])
    means = scores.groupby(["label", "setting"], sort=False)["score"].agg(lambda cell: cell.mean(skipna=False))
    means = means.fillna(scores["score"].min())
    return {label: sign * expected_maximum(cell) for label, cell in means.groupby("label", sort=False)}
