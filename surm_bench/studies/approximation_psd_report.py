"""The table and the figure of the paper's PSD approximation, made only from its records. Without torch."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

from surm_bench.report.panels import STYLE, new_figure, save
from surm_bench.report.tables import Cell, Column, Table, marks
from surm_bench.studies import looks
from surm_bench.studies.reporting import mean_and_deviation

IDENTITY = "multiple of the identity"
CAPTION = (
    "‖M̂ − M‖ in Frobenius norm, M PSD of {side}×{side}; every structure has {side} numbers, the multiple of the "
    "identity one. Mean ± sample standard deviation over {trials} trials. v·vᵀ and A⊗Aᵀ, A of {factor[0]}×{factor[1]}, "
    "by {steps:,} steps of gradient descent at rate {rate} on ‖M̂ − M‖² / {side} (the scale of the loss, the steps and "
    "the start, N(0, {start}²), are ours); the others in closed form. Rows of length 1 can mean either column. Bold: "
    "best, underlined: second. The paper: low rank is the worst in each of 10 trials, followed by Kronecker, circulant "
    "and Toeplitz (Fig. 1). Here, worst first by the mean: {orders}. The multiple of the identity is ahead of {behind}."
)


def error_table(records: dict) -> Table:
    """Return the table of structures against targets; the last row is ‖M‖, the error of the zero matrix."""
    errors = pd.DataFrame(records["errors"])
    data = errors.groupby(["structure", "target"], sort=False)["error"].agg(["mean", "std", "size"]).reset_index()
    targets, structures = list(data["target"].unique()), list(data["structure"].unique())
    contents = [[Cell(name) for name in (*structures, "zero, ‖M‖")]]
    for target in targets:
        cells = data[data["target"] == target].set_index("structure").loc[structures]
        shown = [None if name == IDENTITY else round(cells["mean"][name], 3) for name in structures]
        texts = [mean_and_deviation(row.mean, row.std, "{:.3f}") for row in cells[["mean", "std"]].itertuples()]
        norms = errors[(errors["target"] == target) & (errors["structure"] == IDENTITY)]["norm"]
        column = [Cell(*pair) for pair in zip(texts, marks(shown, lowest=True), strict=True)]
        contents.append([*column, Cell(mean_and_deviation(norms.mean(), norms.std(), "{:.3f}"))])
    columns = [Column("Structure"), *(Column(target) for target in targets)]
    return Table(columns, [list(row) for row in zip(*contents, strict=True)], _caption(records, errors), data)


def draw(records: dict, path: Path) -> None:
    """Draw one panel per target and one line per structure: the error of each trial."""
    errors = pd.DataFrame(records["errors"])
    with mpl.rc_context(STYLE):
        figure = new_figure(height=3.6)
        for axes, (target, cells) in zip(figure.subplots(1, 2), errors.groupby("target", sort=False), strict=True):
            for place, (name, trials) in enumerate(cells.groupby("structure", sort=False)):
                grey = name == IDENTITY
                color = "#888888" if grey else looks.COLORS[place - 1]
                style = (
                    {"linestyle": "--"} if grey else {"marker": looks.MARKERS[place - 1], "markeredgecolor": "white"}
                )
                axes.plot(trials["trial"] + 1, trials["error"], color=color, label=name, linewidth=1.2, **style)
            axes.set_title(target)
            axes.set_xlabel("trial")
            axes.set_xticks(np.unique(cells["trial"]) + 1)
            axes.set_ylabel("‖M̂ − M‖")
            axes.grid(True, axis="y")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", frameon=False, ncols=5)
        save(figure, path)


def _caption(records: dict, errors: pd.DataFrame) -> str:
    orders, behind = [], []
    for target, cells in errors.groupby("target", sort=False):
        means = cells.groupby("structure")["error"].mean().sort_values(ascending=False)
        ranked = means.drop(IDENTITY)
        trials = cells[cells["structure"] != IDENTITY].pivot(index="trial", columns="structure", values="error")
        last = int((trials.idxmax(axis=1) == ranked.index[0]).sum())
        orders.append(f"{target}: {', '.join(ranked.index)} ({ranked.index[0]} in {last} of {len(trials)} trials)")
        behind.append(f"{int((ranked > means[IDENTITY]).sum())} of {len(ranked)} structures on {target}")
    return CAPTION.format(**records["settings"], orders="; ".join(orders), behind=", ".join(behind))
