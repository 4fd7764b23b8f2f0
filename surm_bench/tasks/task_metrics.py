"""The metrics of tasks, by GLUE's names: matthews_correlation (CoLA), f1_accuracy (MRPC, QQP), correlation (STS-B),
accuracy (all others), and macro_f1_accuracy, whose F1 is the mean over the classes that are among the labels or the
predictions. A correlation with constant predictions is undefined and counts as 0.

Scores are those of scikit-learn and scipy, which are imported when they are used: both are slow to import.
"""

import numpy as np

from surm_bench.metrics.functions import accuracy


def scores(metric: str, labels: np.ndarray, predictions: np.ndarray, positive: int | None) -> dict[str, float]:
    """Return the scores of predictions (N,) against labels (N,), by name; positive is the positive class of F1.

    Raises:
        KeyError: the metric is unknown.
    """
    if metric not in METRICS:
        raise KeyError(f"unknown metric {metric!r}: choose from {', '.join(METRICS)}")
    numbers = np.float64 if metric == "correlation" else np.int64
    results = METRICS[metric](labels.astype(numbers), predictions.astype(numbers), positive)
    return {name: float(value) for name, value in results.items()}


def _matthews(labels, predictions, _):
    from sklearn.metrics import matthews_corrcoef

    return {"matthews_correlation": matthews_corrcoef(labels, predictions)}


def _f1_accuracy(labels, predictions, positive):
    from sklearn.metrics import f1_score

    f1 = f1_score(labels, predictions, pos_label=positive, zero_division=0.0)
    return {"f1": f1, **_accuracy(labels, predictions, positive)}


def _macro_f1_accuracy(labels, predictions, positive):
    from sklearn.metrics import f1_score

    f1 = f1_score(labels, predictions, average="macro", zero_division=0.0)
    return {"macro_f1": f1, **_accuracy(labels, predictions, positive)}


def _correlation(labels, predictions, _):
    from scipy.stats import pearsonr, spearmanr

    if np.ptp(labels) == 0 or np.ptp(predictions) == 0:
        return {"spearmanr": 0.0, "pearson": 0.0}
    return {
        "spearmanr": spearmanr(labels, predictions).statistic,
        "pearson": pearsonr(labels, predictions).statistic,
    }


def _accuracy(labels, predictions, _):
    return {"accuracy": accuracy(labels, predictions)}


METRICS = {
    "matthews_correlation": _matthews,
    "f1_accuracy": _f1_accuracy,
    "macro_f1_accuracy": _macro_f1_accuracy,
    "correlation": _correlation,
    "accuracy": _accuracy,
}
