"""The metrics of the tasks for many sets of predictions at once, so that resampling is fast.

Each takes labels (n,) and predictions (..., n) and gives scores (...). Any function of one set is made such a metric by
``numpy.vectorize(function, signature="(n),(n)->()")``.
"""

import numpy as np
from scipy.stats import rankdata

from surm_bench.errors import UserError


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """The fraction of predictions that are right."""
    return (predictions == labels).mean(-1)


def f1(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """F1 of class 1; 0 where class 1 is in neither labels nor predictions."""
    labels, predictions = labels == 1, predictions == 1
    both, either = (labels & predictions).sum(-1), labels.sum(-1) + predictions.sum(-1)
    return np.divide(2 * both, either, out=np.zeros(np.shape(both)), where=either > 0)


def matthews(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Matthews' correlation of classes 0 and 1, which is Pearson's of these numbers; 0 where one is constant.

    Raises:
        UserError: there are other classes.
    """
    for values in (labels, predictions):
        if other := set(np.unique(values).tolist()) - {0, 1}:
            raise UserError(f"Matthews' correlation of class {min(other)}: only classes 0 and 1 are supported")
    return pearson(labels, predictions)


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


METRICS = {  # by the names of a task's primary_metric
    "accuracy": accuracy,
    "f1": f1,
    "matthews_correlation": matthews,
    "pearson": pearson,
    "spearmanr": spearman,
}
