"""Rows that show the score of a run's best epoch: to repeat a protocol that reports it, never by default."""

from collections.abc import Sequence

import pandas as pd


def show_best_epoch(runs: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """The runs, those of these labels with the score of their best epoch in place of the last one's.

    Args:
        runs: from runs_frame.
    """
    return runs.assign(score=runs["score"].where(~runs["label"].isin(labels), runs["best_score"]))


def best_epoch_note(runs: pd.DataFrame, labels: Sequence[str]) -> str:
    """A sentence for the caption that names these rows and the split that chose their epoch; "" without any."""
    splits = runs.loc[runs["label"].isin(labels), "selection"].dropna().unique()
    if not len(splits):
        return ""
    chosen_on = " or ".join(sorted(splits))
    return f"Not the last epoch but the best one, by the score on the {chosen_on} split itself: {'; '.join(labels)}."
