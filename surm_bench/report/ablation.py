"""Scores of tuning, every adapter at its best setting: what each choice of a protocol, or each adapter, is worth."""

from collections.abc import Sequence

import pandas as pd

from surm_bench.report.tables import MISSING, Cell, Column, Table

CAPTION = (
    "Scores × 100 after the last step on training rows held out, {seeds}, every adapter at the best of the settings "
    "tried{where}. Bold: best of a column.{change} {missing}: not run to its end."
)
PARAMETERS = "Parameters: of the adapter, without the task head."
CHANGE = " Change: mean over the adapters of the difference to the first row."


def ablation_table(
    scores: pd.DataFrame, variants: Sequence[str], adapters: Sequence[str], seeds: Sequence[int], protocol: str = ""
) -> Table:
    """One row a variant of the protocol, one column an adapter.

    Args:
        scores: a row for each trial and seed: task (the variant), adapter, seed, score, chosen.
        variants: from top to bottom; the first is what the others are compared with.
    """
    chosen = scores[scores["chosen"]]
    cells = chosen.groupby(["task", "adapter"])["score"].agg(["mean", "std"])
    means = cells["mean"].unstack().reindex(index=variants, columns=adapters)
    changes = (means - means.iloc[0]).mean(axis=1, skipna=False)
    best = means.max()
    columns = [Column("Protocol"), *(Column(adapter) for adapter in adapters), Column("Change")]
    rows = []
    for variant in variants:
        found = [_cell(cells, variant, adapter, best[adapter]) for adapter in adapters]
        change = MISSING if pd.isna(changes[variant]) else f"{100 * changes[variant]:+.1f}"
        rows.append([Cell(variant), *found, Cell(change)])
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
    best = frame.groupby("task")["mean"].max()
    counts = frame.groupby("label")["adapter_parameters"].first()
    rows = [
        [
            Cell(label),
            Cell(f"{counts[label]:,}" if label in counts else MISSING),
            *(_cell(cells, task, label, best.get(task)) for task in tasks),
        ]
        for label in order
    ]
    columns = [Column("Adapter"), Column("Parameters"), *(Column(task) for task in tasks)]
    return Table(columns, rows, f"{PARAMETERS} {_caption(seeds)}", frame, protocol=protocol)


def _caption(seeds: Sequence[int], where: str = "", change: str = "") -> str:
    listed = ", ".join(map(str, seeds))
    spread = f"mean ± sample standard deviation over the tuning seeds {listed}"
    one = f"of one run, with the tuning seed {listed}"
    return CAPTION.format(seeds=spread if len(seeds) > 1 else one, where=where, change=change, missing=MISSING)


def _cell(cells: pd.DataFrame, variant: str, adapter: str, best: float | None) -> Cell:
    if (variant, adapter) not in cells.index:
        return Cell(MISSING)
    mean, std = cells.loc[(variant, adapter)]
    spread = "" if pd.isna(std) else f" ± {100 * std:.1f}"
    return Cell(f"{100 * mean:.1f}{spread}", "best" if mean == best else "")
