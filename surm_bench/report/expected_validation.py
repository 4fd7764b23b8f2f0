"""How good an adapter is after so many settings have been tried: expected validation performance."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from surm_bench.report.panels import STYLE, add_legend, line_looks, panel_grid, panel_height, save
from surm_bench.statistics import expected_maximum


def expected_validation(scores: pd.DataFrame, path: str | Path) -> list[Path]:
    """The expected best score of n settings drawn from those that tuning tried in full, one panel a task, one line an
    adapter (Dodge et al., 2019, arXiv 1909.03004). Short trials are left out.

    Args:
        scores: a row for each trial and seed: task, adapter, setting, steps, seed, score; a greater score is better.
        path: where to write; its suffix is replaced by .png and .svg.
    """
    full = scores[scores["steps"] == scores.groupby("task")["steps"].transform("max")]
    tasks, looks = list(dict.fromkeys(full["task"])), line_looks(full["adapter"])
    with mpl.rc_context(STYLE):
        figure, grid = panel_grid(len(tasks), height=panel_height(3.2, looks))
        for axes, task in zip(grid, tasks, strict=False):
            of_task = full[full["task"] == task]
            for adapter, curve in expected_curves(of_task).items():
                axes.plot(np.arange(1, len(curve) + 1), 100 * curve, **looks[adapter], markersize=4)
            axes.set_title(task)
            axes.set_xlabel("settings tried")
            axes.set_ylabel("expected best score × 100, rows held out")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(True)
        handles = [Line2D([], [], label=adapter, **look) for adapter, look in looks.items()]
        add_legend(figure, grid, len(tasks), handles)
        return save(figure, path)


def expected_curves(scores: pd.DataFrame) -> dict[str, np.ndarray]:
    """By adapter the expected best of n = 1, 2, … settings of one task, from the mean over the seeds of each setting.

    A setting that diverged on a seed counts as the worst score that any adapter had on the task.
    """
    means = scores.groupby(["adapter", "setting"], sort=False)["score"].agg(lambda cell: cell.mean(skipna=False))
    means = means.fillna(scores["score"].min())
    return {adapter: expected_maximum(cell) for adapter, cell in means.groupby("adapter", sort=False)}
