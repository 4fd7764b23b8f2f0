"""The table and the figure of the distance from the pretrained weights, made only from its records. Without torch."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from surm_bench.report.looks import method_looks
from surm_bench.report.panels import STYLE, new_figure, save
from surm_bench.report.tables import MISSING, Cell, Column, Table
from surm_bench.studies.reporting import mean_and_deviation

TASK = ["model", "task"]
PROJECTIONS = {"q": "query", "k": "key", "v": "value"}
CAPTION = (
    "1 − cos of the angle between W + αΔW and W as vectors, and the rank of ΔW: the singular values above 1 % of the "
    "largest; means over layers, ± sample standard deviation over seeds. {missing}: the method "
    "leaves this weight as it is. From the records of {runs}: {seeds} seed(s). The paper: LoRA stays near W, SURM "
    "goes far (Fig. 11), and all trained SURM matrices have full rank (B.4). Here, {sentences}."
)


def distance_table(records: dict) -> Table:
    """Return the table of methods by parameters, task by task: 1 − cos and rank of each role."""
    rows = pd.DataFrame(records["changes"])
    roles = [role for role in PROJECTIONS if role in set(rows["role"])]
    by_seed = rows.groupby([*TASK, "label", "parameters", "role", "seed"], sort=False)[
        ["cosine_distance", "rank"]
    ].mean()
    cells = by_seed.groupby([*TASK, "label", "parameters", "role"], sort=False)
    data = cells.agg(["mean", "std", "size"])
    data.columns = ["_".join(names) for names in data.columns]
    columns = [Column(title) for title in ("Task", "Method", "Parameters")]
    columns += [Column(PROJECTIONS[role], title) for title in ("1 − cos", "rank of ΔW") for role in roles]
    body, before = [], None
    for (model, task, label, count), of_method in data.groupby(level=[0, 1, 2, 3], sort=False):
        found = of_method.droplevel([0, 1, 2, 3]).reindex(roles)
        texts = [
            mean_and_deviation(row[f"{name}_mean"], row[f"{name}_std"], form)
            for name, form in (("cosine_distance", "{:.3f}"), ("rank", "{:.1f}"))
            for _, row in found.iterrows()
        ]
        group = f"{task} ({model})"
        body.append([Cell(text) for text in ("" if group == before else group, label, f"{count:,}", *texts)])
        before = group
    return Table(columns, body, _caption(records, rows), data.reset_index())


def draw(records: dict, path: Path) -> None:
    """Draw one row per task, one panel per role, one line per method: 1 − cos layer by layer, the mean over seeds."""
    rows = pd.DataFrame(records["changes"])
    roles = [role for role in PROJECTIONS if role in set(rows["role"])]
    look = method_looks(dict(zip(rows["label"], rows["family"], strict=True)))
    with mpl.rc_context(STYLE):
        tasks = list(rows.groupby(TASK, sort=False))
        figure = new_figure(height=2.5 * len(tasks) + 0.9)
        grid = figure.subplots(len(tasks), len(roles), squeeze=False, sharey="row")
        for line, ((model, task), of_task) in zip(grid, tasks, strict=True):
            for axes, role in zip(line, roles, strict=True):
                _lines(axes, of_task[of_task["role"] == role], look)
                axes.set_title(f"{task.rpartition('/')[2]} ({model}), {PROJECTIONS[role]}")
            line[0].set_ylabel("1 − cos(W + αΔW, W)")
        for axes in grid[-1]:
            axes.set_xlabel("layer")
        handles = {
            text: handle for axes in grid.flat for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", frameon=False, ncols=5)
        save(figure, path)


def _lines(axes: Axes, cells: pd.DataFrame, look: dict) -> None:
    for label, of_method in cells.groupby("label", sort=False):
        means = of_method.groupby("layer")["cosine_distance"].mean()
        style = {"color": look[label].color, "marker": look[label].marker, "markeredgecolor": "white"}
        axes.plot(means.index + 1, means, label=label, linewidth=1.6, **style)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(True)


def _caption(records: dict, rows: pd.DataFrame) -> str:
    sentences = []
    for (model, task), of_task in rows.groupby(TASK, sort=False):
        means = of_task.groupby("label", sort=False)["cosine_distance"].mean().sort_values()
        order = ", ".join(f"{label} {value:.3f}" for label, value in means.items())
        sentences.append(f"{task.rpartition('/')[2]} ({model}), nearest first: {order}")
    seeds = rows.groupby(TASK)["seed"].nunique()
    counts = "/".join(str(count) for count in sorted(set(seeds)))
    return CAPTION.format(missing=MISSING, runs=records["runs_from"], seeds=counts, sentences="; ".join(sentences))
