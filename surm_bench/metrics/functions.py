"""The metrics of the tasks, computed for many sets of predictions at once so that resampling is fast.

Each metric takes labels (..., n) and predictions (..., n) and returns scores (...). A function of one set of
predictions becomes such a metric by ``numpy.vectorize(function, signature="(n),(n)->()")``.
"""

import numpy as np


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return the fraction of correct predictions."""
    return (predictions == labels).mean(-1)


def f1(labels: np.ndarray, predictions: np.ndarray, positive: int = 1) -> np.ndarray:
    """Return the F1 of one class; 0 if the class is absent from both labels and predictions."""
    labels, predictions = labels == positive, predictions == positive
    both, either = (labels & predictions).sum(-1), labels.sum(-1) + predictions.sum(-1)
    return np.divide(2 * both, either, out=np.zeros(np.shape(both)), where=either > 0)


def macro_f1(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return the mean F1 of the classes that occur in labels or predictions."""
    classes = np.union1d(labels, predictions)
    each = np.array([f1(labels, predictions, label) for label in classes])
    there = np.array([(labels == label).any(-1) | (predictions == label).any(-1) for label in classes])
    return each.sum(0) / there.sum(0)  # F1 of an absent class is 0


def matthews(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return Matthews' correlation; 0 if labels or predictions are constant.

    For classes 0 and 1 the result is Pearson's correlation of these numbers. For more classes it is Gorodkin's R_K
    (2004, eq. 8): the covariance of the class indicators over the root of the product of their variances.
    """
    classes = np.union1d(labels, predictions)
    if set(classes.tolist()) <= {0, 1}:
        return pearson(labels, predictions)
    one, other = labels[..., None] == classes, predictions[..., None] == classes
    covariance, of_one, of_other = _covariance(one, other), _covariance(one, one), _covariance(other, other)
    spread = np.sqrt(of_one * of_other)
    return np.divide(covariance, spread, out=np.zeros(np.shape(spread)), where=spread > 0)


def pearson(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation; 0 if labels or predictions are constant."""
    vary = (np.ptp(labels, -1) > 0) & (np.ptp(predictions, -1) > 0)  # norms of constants are rarely 0 after rounding
    labels = labels - labels.mean(-1, keepdims=True)
    predictions = predictions - predictions.mean(-1, keepdims=True)
    norms = np.linalg.norm(labels, axis=-1) * np.linalg.norm(predictions, axis=-1)
    return np.divide(np.sum(labels * predictions, axis=-1), norms, out=np.zeros(np.shape(norms)), where=vary)


def spearman(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation: Pearson's correlation of the ranks, where equal values share their mean rank."""
    from scipy.stats import rankdata  # slow to import

    return pearson(rankdata(labels, axis=-1), rankdata(predictions, axis=-1))


def _covariance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the covariance (...) of class indicators (..., n, classes), summed over the classes."""
    return ((one & other).mean(-2) - one.mean(-2) * other.mean(-2)).sum(-1)
