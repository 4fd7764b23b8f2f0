"""Rows that show the score of a run's best epoch: to repeat a protocol that reports it, never by default."""

from collections.abc import Sequence

import pandas as pd

from surm_bench.records.agreement import kept


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


def kept_note(records: Sequence[dict]) -> str:
    """A sentence for the caption that names the rows of runs with trainer.keep_best; "" without any."""
    labels = sorted({record["config"]["adapter"]["label"] for record in records if kept(record) == "best"})
    return f"Of the best epoch by rows held out, not the last one: {'; '.join(labels)}." if labels else ""
