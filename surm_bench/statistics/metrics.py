"""The metrics of the tasks for many sets of predictions at once, so that resampling is fast.

Each takes labels (n,) and predictions (..., n) and gives scores (...). Any function of one set is made such a metric by
``numpy.vectorize(function, signature="(n),(n)->()")``.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.stats import rankdata


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """The fraction of predictions that are right."""
    return (predictions == labels).mean(-1)


def f1(labels: np.ndarray, predictions: np.ndarray, positive: int = 1) -> np.ndarray:
    """F1 of one class; 0 where that class is in neither labels nor predictions."""
    labels, predictions = labels == positive, predictions == positive
    both, either = (labels & predictions).sum(-1), labels.sum(-1) + predictions.sum(-1)
    return np.divide(2 * both, either, out=np.zeros(np.shape(both)), where=either > 0)


def macro_f1(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """The mean F1 of the classes that are in labels or predictions."""
    classes = np.union1d(labels, predictions)
    each = np.array([f1(labels, predictions, label) for label in classes])
    there = np.array([(labels == label).any(-1) | (predictions == label).any(-1) for label in classes])
    return each.sum(0) / there.sum(0)  # F1 of an absent class is 0


def matthews(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Matthews' correlation; 0 where one of the two is constant.

    Of classes 0 and 1 this is Pearson's of these numbers, of more classes Gorodkin's R_K (2004, eq. 8): the
    covariance of the indicators of the classes over the root of the product of their variances.
    """
    classes = np.union1d(labels, predictions)
    if set(classes.tolist()) <= {0, 1}:
        return pearson(labels, predictions)
    one, other = labels[..., None] == classes, predictions[..., None] == classes
    covariance, of_one, of_other = _covariance(one, other), _covariance(one, one), _covariance(other, other)
    spread = np.sqrt(of_one * of_other)
    return np.divide(covariance, spread, out=np.zeros(np.shape(spread)), where=spread > 0)


def pearson(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Pearson's correlation; 0 where one of the two is constant."""
    vary = (np.ptp(labels, -1) > 0) & (np.ptp(predictions, -1) > 0)  # norms of constants are rarely 0 after rounding
    labels = labels - labels.mean(-1, keepdims=True)
    predictions = predictions - predictions.mean(-1, keepdims=True)
    norms = np.linalg.norm(labels, axis=-1) * np.linalg.norm(predictions, axis=-1)
    return np.divide(np.sum(labels * predictions, axis=-1), norms, out=np.zeros(np.shape(norms)), where=vary)


def spearman(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Spearman's correlation: Pearson's of the ranks, equal values sharing their mean rank."""
    return pearson(rankdata(labels, axis=-1), rankdata(predictions, axis=-1))


def metric_of(name: str, positive: int | None = None) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The metric of a name of METRICS; F1 of a positive class."""
    return METRICS[name] if positive is None else partial(METRICS[name], positive=positive)


def _covariance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The covariance (...) of indicators (..., n, classes), summed over the classes."""
    return ((one & other).mean(-2) - one.mean(-2) * other.mean(-2)).sum(-1)


METRICS: dict[str, Callable] = {  # by the names of a task's primary_metric
    "accuracy": accuracy,
    "f1": f1,
    "macro_f1": macro_f1,
    "matthews_correlation": matthews,
    "pearson": pearson,
    "spearmanr": spearman,
}
