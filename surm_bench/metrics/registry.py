"""The table of metrics. A new metric is an entry here, and a line in surm_bench/tasks/task_metrics.py."""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from surm_bench.metrics.functions import accuracy, f1, macro_f1, matthews, pearson, spearman

Function = Callable[..., np.ndarray]  # of labels (..., n) and predictions (..., n), as Metric says


class Metric(NamedTuple):
    """A metric of a task.

    Attributes:
        function: from labels (..., n) and predictions (..., n) to scores (...).
        kind: how a score comes from its examples, which decides its standard error and its interval. The score is the
            proportion of right examples, a correlation, or another function of all examples.
        greater_is_better: whether a greater score is better.
    """

    function: Function
    kind: Literal["proportion", "correlation", "other"]
    greater_is_better: bool = True

    def standard_error(self, score: float, n: int) -> float:
        """Return the standard error of a score over n examples.

        It is (1 − ρ²)/√(n − 1) for a correlation ρ. Otherwise it is binomial, √(p(1 − p)/n): exact for a proportion,
        an approximation for F1, and 0 for a score that is not between 0 and 1.
        """
        if self.kind == "correlation":
            return (1 - score**2) / math.sqrt(max(n - 1, 1))
        return math.sqrt(max(score * (1 - score), 0) / n)


METRICS = {  # by the name of a task's primary_metric
    "accuracy": Metric(accuracy, "proportion"),
    "f1": Metric(f1, "other"),
    "macro_f1": Metric(macro_f1, "other"),
    "matthews_correlation": Metric(matthews, "correlation"),
    "pearson": Metric(pearson, "correlation"),
    "spearmanr": Metric(spearman, "correlation"),
}


def metric_function(name: str, positive: int | None = None) -> Function:
    """Return the function of a metric; positive is the positive class of F1, None for other metrics."""
    function = METRICS[name].function
    return function if positive is None else partial(function, positive=positive)
