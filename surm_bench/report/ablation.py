"""Scores of tuning, every adapter at its best setting: what each choice of a protocol, or each adapter, is worth."""

from collections.abc import Sequence

import pandas as pd

from surm_bench.report.tables import MISSING, Cell, Column, Table, marks

CAPTION = (
    "Scores × 100 after the last step on training rows held out, {seeds}, every adapter at the best of the settings "
    "tried{where}. Bold: best of a column.{change} {missing}: not run to its end."
)
PARAMETERS = "Parameters: of the adapter, without the task head."
CHANGE = " Change: mean over the adapters of the difference to the first row."


def ablation_table(
    scores: pd.DataFrame, variants: Sequence[str], labels: Sequence[str], seeds: Sequence[int], protocol: str = ""
) -> Table:
    """One row a variant of the protocol, one column an adapter.

    Args:
        scores: a row for each trial and seed: task (the variant), label, seed, score, chosen.
        variants: from top to bottom; the first is what the others are compared with.
        labels: of the adapters, from left to right.
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
    """One row an adapter, with its parameters, and one column a task: for many adapters.

    Args:
        frame: a row for each adapter and task that is tuned: label, task, adapter_parameters, mean, std.
        order: the labels of the adapters from top to bottom.
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
    one = f"of one run, with the tuning seed {listed}"
    return CAPTION.format(seeds=spread if len(seeds) > 1 else one, where=where, change=change, missing=MISSING)


def _column(cells: pd.DataFrame, places: Sequence[tuple[str, str]]) -> list[Cell]:
    """Means with their spread, the best in bold."""
    found = [cells.loc[place] if place in cells.index else None for place in places]
    texts = [MISSING if cell is None else f"{100 * cell['mean']:.1f}" for cell in found]
    spreads = ["" if cell is None or pd.isna(cell["std"]) else f" ± {100 * cell['std']:.1f}" for cell in found]
    best = marks([None if cell is None else float(text) for cell, text in zip(found, texts, strict=True)])
    return [
        Cell(text + spread, mark if mark == "best" else "")
        for text, spread, mark in zip(texts, spreads, best, strict=True)
    ]
