"""What each choice of a protocol is worth: the scores of tuning, every adapter at the best setting it has there."""

from collections.abc import Sequence

import pandas as pd

from surm_bench.report.tables import MISSING, Cell, Column, Table

CAPTION = (
    "Scores × 100 after the last step on training rows held out, mean ± sample standard deviation over the tuning "
    "seeds {seeds}, every adapter at the best of the settings tried for that row. Bold: best of a column. Change: "
    "mean over the adapters of the difference to the first row. {missing}: not run to its end."
)


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
    caption = CAPTION.format(seeds=", ".join(map(str, seeds)), missing=MISSING)
    return Table(columns, rows, caption, chosen, protocol=protocol)


def _cell(cells: pd.DataFrame, variant: str, adapter: str, best: float) -> Cell:
    if (variant, adapter) not in cells.index:
        return Cell(MISSING)
    mean, std = cells.loc[(variant, adapter)]
    spread = "" if pd.isna(std) else f" ± {100 * std:.1f}"
    return Cell(f"{100 * mean:.1f}{spread}", "best" if mean == best else "")
