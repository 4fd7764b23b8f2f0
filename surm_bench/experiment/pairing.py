"""Differences of two methods, paired by seed, from the records and predictions of their runs."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pandas as pd

from surm_bench.config.positive_class import positive_class
from surm_bench.errors import UserError
from surm_bench.metrics import metric_function
from surm_bench.records import Archive, Record, read_predictions
from surm_bench.statistics import ErrorVariance, Interval, mean_interval, paired_difference_with_examples

Pair = tuple[Record, Record]


def gains(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs so that first minus second is the gain: swapped, (second, first), if a lower score is better."""
    return [(one, other) if one.greater_is_better else (other, one) for one, other in pairs]


class Predictions:
    """The predictions of an archive's runs on their reported split, read at first use."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def has(self, records: Sequence[Record]) -> bool:
        """Whether the predictions of all these records are available."""
        return all(record.checksum in self._by_record for record in records)

    def difference(
        self, pairs: Sequence[Pair], level: float, resamples: int = 2000, pooled: ErrorVariance | None = None
    ) -> Interval:
        """Return the interval of the difference, first minus second of each pair, for other seeds and test examples.

        Args:
            pooled: see surm_bench.statistics.paired_difference_with_examples.

        Raises:
            UserError: the runs were scored on different rows.
        """
        if not pairs:
            return mean_interval([], level)
        runs = [run for side in zip(*pairs, strict=True) for run in side]
        frames = [self._by_record.get(run.checksum) for run in runs]
        if not _same_rows([frame for frame in frames if frame is not None]):
            one, other = (run.config.adapter.label for run in pairs[0])
            rows = f"the runs of {one} and {other} on {runs[0].config.task.name}"
            raise UserError(
                f"{self._archive.folder.name}: {rows} were scored on different rows and cannot be paired: "
                "make them again with the same data"
            )
        predictions, labels = _arrays(frames)
        first, partner = predictions.reshape(2, len(pairs), -1)
        metric = metric_function(runs[0].primary_metric, positive_class(runs[0].config.task))
        return paired_difference_with_examples(first, partner, labels, metric, level, resamples, pooled=pooled)

    @property
    def problems(self) -> list[str]:
        """A line for each damaged file of predictions."""
        return self._read[1]

    @cached_property
    def _by_record(self) -> dict[str, pd.DataFrame]:
        rows = self._read[0]
        rows = rows[rows["split"] == "reported"].sort_values("row")
        return dict(list(rows.groupby("record")))

    @cached_property
    def _read(self) -> tuple[pd.DataFrame, list[str]]:
        return read_predictions(self._archive)


def _same_rows(frames: Sequence[pd.DataFrame]) -> bool:
    """Whether the predictions are of the same rows, with the same labels."""
    return all(np.array_equal(frame[name], frames[0][name]) for frame in frames for name in ("row", "label"))


def _arrays(predictions: Sequence[pd.DataFrame | None]) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions (runs, examples), NaN for a diverged run without predictions, and labels (examples,)."""
    frames = [frame for frame in predictions if frame is not None]
    if not frames:
        return np.full((len(predictions), 2), np.nan), np.zeros(2)
    labels = frames[0]["label"].to_numpy()
    none = np.full(len(labels), np.nan)
    return np.array([none if frame is None else frame["prediction"].to_numpy() for frame in predictions]), labels
