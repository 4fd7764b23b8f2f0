"""Scores of the best epoch, only to match protocols that report it; the default is the last epoch."""

from collections.abc import Sequence

import pandas as pd

from surm_bench.records import Record


def show_best_epoch(runs: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Return the runs, with the score of the best epoch instead of the last one for these labels.

    Args:
        runs: from runs_frame.
        labels: the labels of the adapters that show their best epoch.
    """
    return runs.assign(score=runs["score"].where(~runs["label"].isin(labels), runs["best_score"]))


def best_epoch_note(runs: pd.DataFrame, labels: Sequence[str]) -> str:
    """Return a caption sentence on the labels and the split that chose their best epoch; "" without such runs."""
    splits = runs.loc[runs["label"].isin(labels), "selection"].dropna().unique()
    if not len(splits):
        return ""
    chosen_on = " or ".join(sorted(splits))
    shown = f"the best epoch by the score on the {chosen_on} split itself, not the last"
    return f"These rows show {shown}: {'; '.join(labels)}."


def kept_note(records: Sequence[Record]) -> str:
    """Return a caption sentence that names the labels of runs with trainer.keep_best; "" without such runs."""
    labels = sorted({record.config.adapter.label for record in records if record.kept == "best"})
    return (
        f"These rows show the best epoch by the score on held-out rows, not the last: {'; '.join(labels)}."
        if labels
        else ""
    )
