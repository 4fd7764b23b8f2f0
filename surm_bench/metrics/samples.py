"""Scores of many samples of the same examples, for resampling."""

import numpy as np

from surm_bench.metrics.functions import accuracy, pearson, spearman
from surm_bench.metrics.registry import Function


def sample_scores(metric: Function, labels: np.ndarray, predictions: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return the scores (..., samples) of labels (n,) and predictions (..., n) in samples of the examples.

    Args:
        metric: from labels (..., n) and predictions (..., n) to scores (...). Accuracy and Spearman's correlation are
            computed from the number of times that a sample contains each example or value, which is much faster.
        drawn: the examples of each sample (samples, n).
    """
    if metric is accuracy:
        counts = _counts(drawn, len(labels)).astype(np.float64)
        return (predictions == labels).astype(np.float64) @ counts.T / drawn.shape[-1]
    if metric is spearman:
        of_labels = _ranks(labels, drawn)
        runs = predictions.reshape(-1, len(labels))
        scores = np.array([pearson(of_labels, _ranks(run, drawn)) for run in runs])
        return scores.reshape(*predictions.shape[:-1], len(drawn))
    return metric(labels[drawn], np.take(predictions, drawn, axis=-1))


def _ranks(values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return the ranks (samples, n) of drawn values (n,) in their samples, where equal values share their mean rank."""
    distinct, place = np.unique(values, return_inverse=True)
    places = place[drawn]
    counts = _counts(places, len(distinct))
    last = np.cumsum(counts, axis=-1)  # the last of the ranks that equal values share
    return np.take_along_axis(last - (counts - 1) / 2, places, axis=-1)


def _counts(numbers: np.ndarray, below: int) -> np.ndarray:
    """Return how often each number from 0 to below - 1 is in each row of numbers (rows, n): (rows, below)."""
    rows = np.arange(len(numbers))[:, None]
    return np.bincount((rows * below + numbers).ravel(), minlength=len(numbers) * below).reshape(-1, below)
