"""Rate curves: the tuning score against the learning rate, for methods that tune nothing but the learning rate."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import pandas as pd

from surm_bench.metrics import metric_shown_as
from surm_bench.report.looks import Look
from surm_bench.report.panels import STYLE, add_legend, draw_lines, line_key, panel_grid, save

KNOB = "optimizer.lr="
FEWEST = 3  # learning rates of a curve


def rate_curves(scores: pd.DataFrame, looks: Mapping[str, Look], path: str | Path) -> list[Path]:
    """Draw the mean score over the tuning seeds against the learning rate, with a band of ± one standard deviation.

    A rate that diverged on a seed is left out, because the mean over the other seeds would flatter the method.

    Args:
        scores: one row per trial and seed: task, label, metric, setting, full, seed, score. Only full trials count.
        looks: the look of each method, in the order of the table.
        path: where to write; its suffix is replaced.

    Returns:
        The written files. Empty unless every setting is only a learning rate and some method has three rates.
    """
    full = scores[scores["full"]].groupby(["task", "label", "setting"]).filter(lambda of: of["score"].notna().all())
    alone = full["setting"].str.startswith(KNOB) & ~full["setting"].str.contains(" ")
    rates = full.assign(rate=full["setting"].where(alone).str.removeprefix(KNOB).astype(float))
    most = rates.groupby(["task", "label"])["rate"].nunique().max() if len(rates) else 0
    if not alone.all() or most < FEWEST:
        return []
    tasks = list(dict.fromkeys(rates["task"]))
    labels = [label for label in looks if label in set(rates["label"])]
    with mpl.rc_context(STYLE):
        figure, grid = panel_grid(len(tasks), height=3.6)
        for axes, task in zip(grid, tasks, strict=False):
            of_task = rates[rates["task"] == task]
            measure = metric_shown_as(of_task["metric"].iloc[0])
            lines = {
                label: (cells.index.to_numpy(), *(measure.unit * cells[["mean", "std"]].fillna(0).to_numpy().T))
                for label, found in of_task.groupby("label", sort=False)
                for cells in [found.groupby("rate")["score"].agg(["mean", "std"])]
            }
            draw_lines(axes, lines, looks, labels, measure)
            axes.set_xscale("log")
            axes.set_title(task)
            axes.set_xlabel("learning rate")
            axes.set_ylabel(f"score on rows held out{' × 100' * measure.percent}")
        add_legend(figure, grid, len(tasks), line_key(looks, labels, labels))
        return save(figure, path)
