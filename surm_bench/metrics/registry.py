"""The table of metrics. A new metric is an entry of METRICS; its name is then a value of task.metric, too."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from surm_bench.errors import unknown
from surm_bench.metrics.functions import accuracy, f1, macro_f1, matthews, pearson, spearman

Function = Callable[..., np.ndarray]  # of labels (..., n) and predictions (..., n), as Metric says


def binomial(score: float, n: int) -> float:
    """Return √(p(1 − p)/n), the standard error of a proportion p of n examples; an approximation for F1."""
    return math.sqrt(max(score * (1 - score), 0) / n)


def of_correlation(score: float, n: int) -> float:
    """Return (1 − ρ²)/√(n − 1), the standard error of a correlation ρ over n examples."""
    return (1 - score**2) / math.sqrt(max(n - 1, 1))


class Metric(NamedTuple):
    """A metric of a task. Tables, figures and comparisons read its direction and its unit here.

    Attributes:
        function: from labels (..., n) and predictions (..., n) to scores (...).
        standard_error: from a score and its number of examples to its standard error; None if these two numbers do not
            determine it.
        greater_is_better: whether a greater score is better; false for an error.
        regression: whether labels and predictions are real numbers; otherwise they are numbers of classes.
        percent: whether tables show the score × 100, with one decimal; otherwise as measured, with three decimals.
        of_class: whether the metric is of one class, and its function takes the number of this class as ``positive``.
    """

    function: Function
    standard_error: Callable[[float, int], float] | None = None
    greater_is_better: bool = True
    regression: bool = False
    percent: bool = True
    of_class: bool = False

    @property
    def sign(self) -> int:
        """1, or -1 if a lower score is better: the score times the sign is better if it is greater."""
        return 1 if self.greater_is_better else -1

    @property
    def unit(self) -> float:
        """The factor by which tables and figures multiply a score."""
        return 100.0 if self.percent else 1.0

    @property
    def form(self) -> str:
        """The format of a score in tables, after it was multiplied by the unit."""
        return ".1f" if self.percent else ".3f"

    def show(self, score: float, sign: str = "") -> str:
        """Return a score as tables show it; sign is "+" for a difference, which always has its sign."""
        return format(self.unit * score, sign + self.form)


# By the names that task.metric and task.primary_metric have.
METRICS = {
    "accuracy": Metric(accuracy, binomial),
    "f1": Metric(f1, binomial, of_class=True),
    "macro_f1": Metric(macro_f1, binomial),
    "matthews_correlation": Metric(matthews, of_correlation),
    "pearson": Metric(pearson, of_correlation, regression=True),
    "spearmanr": Metric(spearman, of_correlation, regression=True),
}
PAIRS = {  # values of task.metric with two scores, as GLUE has them
    "f1_accuracy": ("f1", "accuracy"),
    "macro_f1_accuracy": ("macro_f1", "accuracy"),
    "correlation": ("spearmanr", "pearson"),
}


def metrics_of(task_metric: str) -> tuple[str, ...]:
    """Return the names of the metrics that a value of task.metric computes, all for regression or all for classes.

    Raises:
        UserError: the value is unknown.
    """
    if task_metric not in PAIRS and task_metric not in METRICS:
        raise unknown("metric", task_metric, [*PAIRS, *METRICS])
    return PAIRS.get(task_metric, (task_metric,))


def metric_function(name: str, positive: int | None = None) -> Function:
    """Return the function of a metric; positive is the class of a metric that is of one class."""
    function, of_class = METRICS[name].function, METRICS[name].of_class
    return partial(function, positive=positive) if of_class and positive is not None else function


def metric_shown_as(name: str) -> Metric:
    """Return the metric that tables call by this name (surm_bench.config.positive_class.shown_metric).

    Raises:
        UserError: METRICS has no entry of this name, for example because the records were made by another version.
    """
    name = name.partition(" of class ")[0]  # F1 is shown with its class
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    return METRICS[name]
