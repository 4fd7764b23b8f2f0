"""How training changed the weights: how far each method moved them, and in how many directions."""

from collections.abc import Iterable, Sequence

import pandas as pd

from surm_bench.records import Record
from surm_bench.report.frames import columns_of
from surm_bench.report.tables import MISSING, Cell, Column, Table

CAPTION = (
    "The change ΔW that training an adapter made to the weights W: means over layers and seeds. Rank is the number of "
    "singular values of ΔW above 1 % of the largest. Stable rank is ‖ΔW‖² divided by the square of the largest "
    "singular value. In 1 − cos, the angle is between W + ΔW and W, taken as vectors. A method that changes no weight "
    "(a linear probe, a bottleneck) has no row. The file changes.csv has the values of each run and role."
)
MEASURES = {  # measure -> its title and format in the table
    "rank": ("Rank", ".1f"),
    "stable_rank": ("Stable rank", ".1f"),
    "relative_norm": ("‖ΔW‖ / ‖W‖", ".3f"),
    "cosine_distance": ("1 − cos", ".4f"),
}
MEASURED = ["norm", "weight_norm", "rank", "stable_rank", "cosine_distance"]  # what a record has of each layer
ROW = ["model", "task", "label"]


def changes_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row per run and role: model, task, label, seed, role, layers, and each measure's mean over the layers.

    ``relative_norm`` is ‖ΔW‖/‖W‖. A measure that a layer does not have, as the angle of a weight of norm 0, is left out
    of the mean. A run without changed weights has no row.
    """
    return _by_role(_layers(records))


def changes_table(records: Iterable[Record], order: Sequence[str]) -> Table | None:
    """Return a table with one row per model, task and adapter; None if no run changed a weight.

    Args:
        records: the records of the runs.
        order: the labels of the adapters from top to bottom.
    """
    layers = _layers(records)
    if layers.empty:
        return None
    groups = {row: of_row for row, of_row in layers.groupby(ROW, sort=False)}
    hidden = 0 if layers.groupby("task")["model"].nunique().max() > 1 else 1  # the task tells its only model
    names = [*["Model", "Task", "Adapter"][hidden:], "Roles", *(title for title, _ in MEASURES.values())]
    rows = [
        [Cell(text) for text in (*(model, task, label)[hidden:], *_texts(groups[model, task, label]))]
        for model, task in dict.fromkeys((model, task) for model, task, _ in groups)
        for label in order
        if (model, task, label) in groups
    ]
    return Table([Column(name) for name in names], rows, CAPTION, _by_role(layers))


def _layers(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row per run and changed layer: model, task, label, seed, role and the measures; NaN: not defined."""
    rows = [
        {
            "model": record.config.model.name,
            "task": columns_of(record.config)[0].title,
            "label": record.config.adapter.label,
            "seed": record.config.seed,
            "role": layer["role"] or "",
            **{name: layer[name] for name in MEASURED},
        }
        for record in records
        for layer in record.change or []
    ]
    frame = pd.DataFrame(rows, columns=[*ROW, "seed", "role", *MEASURED]).astype(dict.fromkeys(MEASURED, "float64"))
    return frame.assign(relative_norm=frame["norm"] / frame["weight_norm"].where(frame["weight_norm"] > 0))


def _by_role(layers: pd.DataFrame) -> pd.DataFrame:
    groups = layers.groupby([*ROW, "seed", "role"], sort=False)
    means = groups[list(MEASURES)].mean()
    means.insert(0, "layers", groups.size())
    return means.reset_index()


def _texts(layers: pd.DataFrame) -> list[str]:
    """Return the roles of the layers and the mean of each measure, as the table shows them."""
    means = layers[list(MEASURES)].mean()
    shown = [MISSING if pd.isna(means[name]) else format(means[name], form) for name, (_, form) in MEASURES.items()]
    return [" ".join(layers["role"].unique()), *shown]
