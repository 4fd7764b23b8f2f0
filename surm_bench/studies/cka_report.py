"""The table and the figure of the study of similarity, made only from its records. Without torch."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from surm_bench.report.panels import STYLE, new_figure, save
from surm_bench.report.tables import MISSING, Cell, Column, Table
from surm_bench.studies.reporting import mean_and_deviation

RANDOM, PRETRAINED = "Random ΔW", "Pretrained"
MEASURES = {  # key in a pair of measurements.json -> title and group of its column, and its format
    "cka_weights": ("CKA", "W + ΔW", "{:.3f}"),
    "cka_delta": ("CKA", "ΔW", "{:.3f}"),
    "debiased_cka_delta": ("debiased CKA", "ΔW", "{:z.3f}"),
    "cosine_delta": ("cosine", "ΔW", "{:z.3f}"),
    "relative_norm_delta": ("relative norm", "ΔW", "{:.1f}"),
    "cka_features": ("CKA", "features", "{:.3f}"),
}
CELL = ["model", "task", "label"]
OTHER, SAME = "other seed", "same seed"
CAPTION = (
    "Similarity to full fine-tuning: of q and v after adaptation (W + ΔW) and of their change (ΔW), means over layers, "
    "and of the features that the head sees on the reported split. Each method is compared with the runs of full "
    "fine-tuning of other seeds than its own; mean ± sample standard deviation over those {seeds} runs, unless (n=…) "
    "says fewer. References: full fine-tuning against itself with another seed (each pair counts for both, so that its "
    "deviation is too small); the pretrained model with Gaussian ΔW of the norms of full fine-tuning's; the pretrained "
    "model. CKA is linear, of weights with output neurons as examples, and centred. For unrelated matrices it is above "
    "0, the more so the higher their effective rank; the debiased CKA is not. Relative norm: that of ΔW over that of "
    "full fine-tuning's. Scores × 100, after the last epoch, over all seeds. {missing}: nothing to measure."
)
WEIGHTS_LOOK = {"label": "weights W + ΔW", "color": "#D55E00", "marker": "s"}
LINE_LOOK = {"color": "#888888", "linewidth": 1}
FEATURES_LOOK = {"label": "features", "color": "#0072B2", "marker": "o"}


def pairs_frame(pairs: list[dict]) -> pd.DataFrame:
    """Return one row per pair: model, task, label, full_seed, pairs (other or same seed), mean measures over layers."""
    return pd.DataFrame(
        {
            **{name: pair[name] for name in (*CELL, "full_seed")},
            "pairs": SAME if pair["seed"] == pair["full_seed"] else OTHER,
            **{measure: pd.Series(pair[measure], dtype=float).mean() for measure in MEASURES},
        }
        for pair in pairs
    )


def summary_frame(pairs: list[dict]) -> pd.DataFrame:
    """Return one row per (model, task, label, pairs), in the order of the pairs.

    A row has n, the number of seeds of full fine-tuning, and each measure's mean and sample standard deviation over
    these seeds. The value of a seed is the mean over the runs compared with it.
    """
    by_seed = pairs_frame(pairs).groupby([*CELL, "pairs", "full_seed"], sort=False)[list(MEASURES)].mean()
    cells = by_seed.reset_index().groupby([*CELL, "pairs"], sort=False)
    columns = {f"{measure}_{how}": (measure, how) for measure in MEASURES for how in ("mean", "std")}
    return cells.agg(n=("full_seed", "size"), **columns).reset_index()


def similarity_table(records: dict) -> Table:
    """Return the table of methods and references against the measures; its data also has the pairs of the same seed."""
    pairs = records["pairs"]
    scores = pd.DataFrame(records["runs"]).groupby(CELL)["score"].agg(score_mean="mean", score_std="std").reset_index()
    data = summary_frame(pairs).merge(scores, on=CELL, how="left")
    columns = [Column("Task"), Column("Method"), Column("Score"), *(Column(*names) for *names, _ in MEASURES.values())]
    rows, before, seeds = [], None, data["n"].max()
    for row in data[data["pairs"] == OTHER].to_dict("records"):
        group = f"{row['task']} ({row['model']})"
        measured = [
            mean_and_deviation(row[f"{name}_mean"], row[f"{name}_std"], form) for name, (*_, form) in MEASURES.items()
        ]
        score = mean_and_deviation(100 * row["score_mean"], 100 * row["score_std"], "{:.1f}")
        method = row["label"] + (f" (n={row['n']})" if row["n"] < seeds else "")
        rows.append([Cell(text) for text in ("" if group == before else group, method, score, *measured)])
        before = group
    return Table(columns, rows, CAPTION.format(seeds=seeds, missing=MISSING), data)


def draw(records: dict, path: Path) -> None:
    """Draw one row per task, references below the line.

    Left: debiased CKA of ΔW, layer by layer. Right: CKA of W + ΔW and of features.
    """
    tasks, pairs = records["tasks"], records["pairs"]
    with mpl.rc_context(STYLE):
        figure = new_figure(2.9 * len(tasks) + 0.5)
        grid = figure.subplots(len(tasks), 2, squeeze=False, sharey="row", width_ratios=(1.3, 1))
        for (left, right), of_task in zip(grid, tasks, strict=True):
            chosen = [p for p in pairs if _same_task(p, of_task) and p["seed"] != p["full_seed"]]
            reference = {pair["label"]: pair["reference"] for pair in chosen}
            _heat_map(left, chosen, list(reference))
            _dots(right, summary_frame(chosen))
            for axes in (left, right):
                level = len(reference) - sum(reference.values()) - 0.5
                axes.axhline(level, label="below: references, full fine-tuning's with another seed", **LINE_LOOK)
            left.set_title(f"{of_task['task'].rpartition('/')[2]}  ({of_task['model']})")
        grid[-1][0].set_xlabel("debiased CKA of ΔW with that of full fine-tuning")
        grid[-1][1].set_xlabel("CKA with full fine-tuning")
        figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", frameon=False, ncols=3)
        save(figure, path)


def counts(pair: dict) -> bool:
    """Whether the pair compares an adapter with full fine-tuning of another seed."""
    return not pair["reference"] and pair["seed"] != pair["full_seed"]


def _same_task(one: dict, other: dict) -> bool:
    return (one["model"], one["task"]) == (other["model"], other["task"])


def _heat_map(axes: Axes, pairs: list[dict], labels: list[str]) -> None:
    of_label = {label: [pair["debiased_cka_delta"] for pair in pairs if pair["label"] == label] for label in labels}
    values = np.array([np.mean(np.array(of_label[label], float), axis=0) for label in labels])
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        text, color = MISSING if np.isnan(value) else f"{value:z.2f}", "white" if value > 0.6 else "black"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    axes.set_xticks(range(values.shape[1]), [f"{'qv'[i % 2]}{i // 2 + 1}" for i in range(values.shape[1])])
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _dots(axes: Axes, cells: pd.DataFrame) -> None:
    places = np.arange(len(cells))
    for measure, look, shift in (("cka_weights", WEIGHTS_LOOK, -0.12), ("cka_features", FEATURES_LOOK, 0.12)):
        mean, spread = cells[f"{measure}_mean"], cells[f"{measure}_std"].fillna(0)
        style = {"linestyle": "", "markersize": 6, "markeredgecolor": "white", "elinewidth": 1.3} | look
        axes.errorbar(mean, places + shift, xerr=spread, **style)
    axes.set_xlim(0, 1.03)
    axes.tick_params(axis="y", length=0, labelleft=False)
    axes.grid(True)
