"""The interval of one run's score over test examples: the same trained model on other examples of the same kind."""

import numpy as np
from scipy.stats import binomtest, bootstrap

from surm_bench.metrics import METRICS, metric_function
from surm_bench.metrics.functions import accuracy
from surm_bench.statistics.intervals import check_level


def example_interval(
    labels: np.ndarray, predictions: np.ndarray, metric: str, level: float = 0.95, positive: int | None = None
) -> tuple[float, float]:
    """Return low and high of the interval of a score, from labels (n,) and predictions (n,).

    Accuracy, a proportion, has Wilson's interval (1927). Other metrics have a bootstrap interval.

    Args:
        metric: a name of surm_bench.metrics.METRICS.
        positive: the class of F1; None for other metrics.

    Raises:
        UserError: level is not between 0 and 1.
    """
    check_level(level)
    function, n = metric_function(metric, positive), len(labels)
    if METRICS[metric].function is accuracy:
        interval = binomtest(round(n * float(function(labels, predictions))), n).proportion_ci(level, "wilson")
        return float(interval.low), float(interval.high)
    interval = bootstrap(
        (labels, predictions),
        function,
        paired=True,
        vectorized=False,
        n_resamples=2000,
        confidence_level=level,
        method="percentile",
        rng=0,
    ).confidence_interval
    return float(interval.low), float(interval.high)


def interval_method(metric: str) -> str:
    """Describe how example_interval computes the interval of a metric."""
    if METRICS[metric].function is accuracy:
        return "Wilson's interval"
    return "percentiles of 2,000 bootstrap samples of the examples"
