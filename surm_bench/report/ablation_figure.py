"""The figure of a protocol's variants: one line per variant, one mark per adapter."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd

from surm_bench.report.ablation import common_measure
from surm_bench.report.looks import Look
from surm_bench.report.panels import STYLE, handle, new_figure, save


def ablation_figure(
    scores: pd.DataFrame, variants: Sequence[str], looks: Mapping[str, Look], path: str | Path
) -> list[Path]:
    """Draw the score of each adapter's chosen setting under each variant, and a line at its score under the first one.

    Where tuning has several seeds, a bar shows ± one sample standard deviation.

    Args:
        scores: one row per trial and seed: task (the variant), label, metric, score, chosen.
        variants: the variants from top to bottom; the others are compared with the first.
        looks: the look of each adapter, by label.
        path: where to write; its suffix is replaced.

    Raises:
        UserError: the variants are scored by metrics of different directions or units.
    """
    measure = common_measure(scores)
    cells = scores[scores["chosen"]].groupby(["label", "task"])["score"].agg(["mean", "std"]).mul(measure.unit)
    shown = [label for label in looks if label in cells.index]
    with mpl.rc_context(STYLE):
        figure = new_figure(1.3 + 0.33 * len(variants))
        axes = figure.subplots()
        for label in shown:
            own = cells.loc[label].reindex(variants)
            mark = {"color": looks[label].color, "marker": looks[label].marker, "markeredgecolor": "white"}
            axes.axvline(own["mean"].iloc[0], color=looks[label].color, linewidth=1, alpha=0.5, zorder=1)
            axes.errorbar(own["mean"], range(len(own)), xerr=own["std"].fillna(0), linestyle="", markersize=8, **mark)
        axes.set_yticks(range(len(variants)), variants)
        axes.set_ylim(len(variants) - 0.5, -0.5)
        axes.grid(True, axis="y")
        axes.set_xlabel(f"score{' × 100' * measure.percent} on training rows held out")
        key = [handle(looks[label], label) for label in shown]
        axes.legend(handles=key, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(key), frameon=False)
        return save(figure, path)
