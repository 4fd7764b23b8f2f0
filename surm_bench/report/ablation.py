"""Tables of tuning scores, each adapter at its best setting: to compare the variants of a protocol, or the adapters."""

from collections.abc import Sequence

import pandas as pd

from surm_bench.errors import UserError
from surm_bench.metrics import METRICS, Metric, metric_shown_as
from surm_bench.report.tables import MISSING, Cell, Column, Table, marks_of

CAPTION = (
    "Scores{unit} on held-out training rows after the last step, {seeds}. Every adapter has the best of the settings "
    "tried{where}. Bold: the best of a column.{lower}{change} {missing} means that tuning is not finished."
)
PARAMETERS = "Parameters are those of the adapter, without the task head."
LOWER = " A lower {metrics} is better."
CHANGE = " Change is the mean over the adapters of the difference from the first row."


def ablation_table(
    scores: pd.DataFrame, variants: Sequence[str], labels: Sequence[str], seeds: Sequence[int], protocol: str = ""
) -> Table:
    """Return a table with one row per variant of the protocol and one column per adapter.

    Args:
        scores: one row per trial and seed: task (the variant), label, metric, seed, score, chosen.
        variants: the variants from top to bottom; the others are compared with the first.
        labels: the labels of the adapters, from left to right.
        seeds: the tuning seeds.
        protocol: sentences on how settings were chosen and where the runs come from.

    Raises:
        UserError: the variants are scored by metrics of different directions or units.
    """
    chosen = scores[scores["chosen"]]
    measure = common_measure(scores)
    cells = chosen.groupby(["task", "label"])["score"].agg(["mean", "std"])
    means = cells["mean"].unstack().reindex(index=variants, columns=labels)
    changes = (means - means.iloc[0]).mean(axis=1, skipna=False)
    columns = [Column("Protocol"), *map(Column, labels), Column("Change")]
    scores_of = [_column(cells, [(variant, label) for variant in variants], measure) for label in labels]
    moved = [Cell(MISSING if pd.isna(change) else measure.show(change, "+")) for change in changes]
    rows = [list(row) for row in zip(map(Cell, variants), *scores_of, moved, strict=True)]
    return Table(
        columns,
        rows,
        _caption(scores, seeds, " for that row", CHANGE),
        chosen.drop(columns="metric"),
        protocol=protocol,
    )


def adapters_table(
    frame: pd.DataFrame, tasks: Sequence[str], order: Sequence[str], seeds: Sequence[int], protocol: str = ""
) -> Table:
    """Return a table with one row per adapter, with its parameters, and one column per task: for many adapters.

    Args:
        frame: one row per adapter and tuned task: label, task, metric, adapter_parameters, mean, std.
        tasks: the tasks, from left to right.
        order: the labels of the adapters from top to bottom.
        seeds: the tuning seeds.
        protocol: sentences on how settings were chosen and where the runs come from.
    """
    cells = frame.set_index(["task", "label"])[["mean", "std"]]
    counts = frame.groupby("label")["adapter_parameters"].first()
    parameters = [Cell(f"{counts[label]:,}" if label in counts else MISSING) for label in order]
    metrics = frame.groupby("task")["metric"].first()
    measures = {task: metric_shown_as(metric) for task, metric in metrics.items()}
    measured = [(task, measures.get(task, METRICS["accuracy"])) for task in tasks]  # without a run nothing is shown
    scores_of = [_column(cells, [(task, label) for label in order], measure) for task, measure in measured]
    rows = [list(row) for row in zip(map(Cell, order), parameters, *scores_of, strict=True)]
    columns = [Column("Adapter"), Column("Parameters"), *(Column(task) for task in tasks)]
    return Table(columns, rows, f"{PARAMETERS} {_caption(frame, seeds)}", frame, protocol=protocol)


def common_measure(scores: pd.DataFrame) -> Metric:
    """Return the direction and the unit of all scores.

    Raises:
        UserError: the scores are of metrics with different directions or units.
    """
    metrics = sorted(scores["metric"].unique())
    measures = [metric_shown_as(metric) for metric in metrics]
    if len({(measure.sign, measure.unit) for measure in measures}) > 1:
        raise UserError(f"{' and '.join(metrics)} have different directions or units: compare them in two experiments")
    return measures[0]


def _caption(scores: pd.DataFrame, seeds: Sequence[int], where: str = "", change: str = "") -> str:
    measures = {metric.replace("_", " "): metric_shown_as(metric) for metric in sorted(scores["metric"].unique())}
    lower = [metric for metric, measure in measures.items() if not measure.greater_is_better]
    as_measured = [metric for metric, measure in measures.items() if not measure.percent]
    unit = " × 100" if len(as_measured) < len(measures) else ""
    unit += f" ({' and '.join(as_measured)} as measured)" * bool(unit and as_measured)
    listed = ", ".join(map(str, seeds))
    spread = f"mean ± sample standard deviation over the tuning seeds {listed}"
    one = f"from one run with the tuning seed {listed}"
    return CAPTION.format(
        unit=unit,
        seeds=spread if len(seeds) > 1 else one,
        where=where,
        lower=LOWER.format(metrics=" or ".join(lower)) if lower else "",
        change=change,
        missing=MISSING,
    )


def _column(cells: pd.DataFrame, places: Sequence[tuple[str, str]], measure: Metric) -> list[Cell]:
    """Return the cells of a column: means with their standard deviations, the best mean in bold."""
    column = [cells.loc[place] if place in cells.index else None for place in places]
    texts = [MISSING if cell is None else measure.show(cell["mean"]) for cell in column]
    spreads = ["" if cell is None or pd.isna(cell["std"]) else f" ± {measure.show(cell['std'])}" for cell in column]
    best = marks_of([None if cell is None else cell["mean"] for cell in column], measure)
    return [
        Cell(text + spread, mark if mark == "best" else "")
        for text, spread, mark in zip(texts, spreads, best, strict=True)
    ]
