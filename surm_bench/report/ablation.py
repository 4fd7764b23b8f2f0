"""Tables of tuning scores, each adapter at its best setting: to compare the variants of a protocol, or the adapters."""

from collections.abc import Sequence

import pandas as pd

from surm_bench.report.tables import MISSING, Cell, Column, Table, marks

CAPTION = (
    "Scores × 100 on held-out training rows after the last step, {seeds}. Every adapter has the best of the settings "
    "tried{where}. Bold: the best of a column.{change} {missing} means that tuning is not finished."
)
PARAMETERS = "Parameters are those of the adapter, without the task head."
CHANGE = " Change is the mean over the adapters of the difference from the first row."


def ablation_table(
    scores: pd.DataFrame, variants: Sequence[str], labels: Sequence[str], seeds: Sequence[int], protocol: str = ""
) -> Table:
    """Return a table with one row per variant of the protocol and one column per adapter.

    Args:
        scores: one row per trial and seed: task (the variant), label, seed, score, chosen.
        variants: the variants from top to bottom; the others are compared with the first.
        labels: the labels of the adapters, from left to right.
        seeds: the tuning seeds.
        protocol: sentences on how settings were chosen and where the runs come from.
    """
    chosen = scores[scores["chosen"]]
    cells = chosen.groupby(["task", "label"])["score"].agg(["mean", "std"])
    means = cells["mean"].unstack().reindex(index=variants, columns=labels)
    changes = (means - means.iloc[0]).mean(axis=1, skipna=False)
    columns = [Column("Protocol"), *map(Column, labels), Column("Change")]
    scores_of = [_column(cells, [(variant, label) for variant in variants]) for label in labels]
    moved = [Cell(MISSING if pd.isna(change) else f"{100 * change:+.1f}") for change in changes]
    rows = [list(row) for row in zip(map(Cell, variants), *scores_of, moved, strict=True)]
    return Table(columns, rows, _caption(seeds, " for that row", CHANGE), chosen, protocol=protocol)


def adapters_table(
    frame: pd.DataFrame, tasks: Sequence[str], order: Sequence[str], seeds: Sequence[int], protocol: str = ""
) -> Table:
    """Return a table with one row per adapter, with its parameters, and one column per task: for many adapters.

    Args:
        frame: one row per adapter and tuned task: label, task, adapter_parameters, mean, std.
        tasks: the tasks, from left to right.
        order: the labels of the adapters from top to bottom.
        seeds: the tuning seeds.
        protocol: sentences on how settings were chosen and where the runs come from.
    """
    cells = frame.set_index(["task", "label"])[["mean", "std"]]
    counts = frame.groupby("label")["adapter_parameters"].first()
    parameters = [Cell(f"{counts[label]:,}" if label in counts else MISSING) for label in order]
    scores_of = [_column(cells, [(task, label) for label in order]) for task in tasks]
    rows = [list(row) for row in zip(map(Cell, order), parameters, *scores_of, strict=True)]
    columns = [Column("Adapter"), Column("Parameters"), *(Column(task) for task in tasks)]
    return Table(columns, rows, f"{PARAMETERS} {_caption(seeds)}", frame, protocol=protocol)


def _caption(seeds: Sequence[int], where: str = "", change: str = "") -> str:
    listed = ", ".join(map(str, seeds))
    spread = f"mean ± sample standard deviation over the tuning seeds {listed}"
    one = f"from one run with the tuning seed {listed}"
    return CAPTION.format(seeds=spread if len(seeds) > 1 else one, where=where, change=change, missing=MISSING)


def _column(cells: pd.DataFrame, places: Sequence[tuple[str, str]]) -> list[Cell]:
    """Return the cells of a column: means with their standard deviations, the best mean in bold."""
    column = [cells.loc[place] if place in cells.index else None for place in places]
    texts = [MISSING if cell is None else f"{100 * cell['mean']:.1f}" for cell in column]
    spreads = ["" if cell is None or pd.isna(cell["std"]) else f" ± {100 * cell['std']:.1f}" for cell in column]
    best = marks([None if cell is None else float(text) for cell, text in zip(column, texts, strict=True)])
    return [
        Cell(text + spread, mark if mark == "best" else "")
        for text, spread, mark in zip(texts, spreads, best, strict=True)
    ]
