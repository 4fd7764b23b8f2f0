"""How training changed the weights: how far each method moved them, and in how many directions."""

from collections.abc import Iterable, Sequence

import pandas as pd

from surm_bench.records import Record
from surm_bench.report.frames import columns_of
from surm_bench.report.tables import Cell, Column, Table

CAPTION = (
    "The change ΔW that training an adapter made to the weights W: means over layers and seeds. Rank is the number of "
    "singular values of ΔW above 1 % of the largest. Stable rank is ‖ΔW‖² divided by the square of the largest "
    "singular value. In 1 − cos, the angle is between W + ΔW and W, taken as vectors. A method that changes no weight "
    "(a linear probe, a bottleneck) has no row. The file changes.csv has the values of each run and role."
)
MEASURES = ["rank", "stable_rank", "relative_norm", "cosine_distance"]


def changes_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row per run and role: model, task, label, seed, role, layers, and each measure's mean over the layers.

    ``relative_norm`` is ‖ΔW‖/‖W‖. A run without changed weights has no row.
    """
    rows = [
        {
            "model": record.config.model.name,
            "task": columns_of(record.config)[0].title,
            "label": record.config.adapter.label,
            "seed": record.config.seed,
            "role": layer["role"] or "",
            "relative_norm": layer["norm"] / layer["weight_norm"],
            **{name: layer[name] for name in ("rank", "stable_rank", "cosine_distance")},
        }
        for record in records
        for layer in record.change or []
    ]
    keys = ["model", "task", "label", "seed", "role"]
    frame = pd.DataFrame(rows, columns=[*keys, *MEASURES])
    means = frame.groupby(keys, sort=False)[MEASURES].mean()
    means.insert(0, "layers", frame.groupby(keys, sort=False).size())
    return means.reset_index()


def changes_table(records: Iterable[Record], order: Sequence[str]) -> Table | None:
    """Return a table with one row per task and adapter; None if no run changed a weight.

    Args:
        records: the records of the runs.
        order: the labels of the adapters from top to bottom.
    """
    data = changes_frame(records)
    if data.empty:
        return None
    weighted = data[MEASURES].mul(data["layers"], axis=0).assign(layers=data["layers"])
    keys = [data["task"], data["label"]]
    sums = weighted.groupby(keys, sort=False).sum()
    means = sums[MEASURES].div(sums["layers"], axis=0)
    columns = ["Task", "Adapter", "Roles", "Rank", "Stable rank", "‖ΔW‖ / ‖W‖", "1 − cos"]
    rows = []
    for task in dict.fromkeys(data["task"]):
        for label in (label for label in order if (task, label) in means.index):
            rank, stable, norm, cosine = means.loc[(task, label)]
            roles = data.loc[(data["task"] == task) & (data["label"] == label), "role"].unique()
            texts = [task, label, " ".join(roles), f"{rank:.1f}", f"{stable:.1f}", f"{norm:.3f}"]
            rows.append([Cell(text) for text in [*texts, f"{cosine:.4f}"]])
    return Table([Column(name) for name in columns], rows, CAPTION, data)
