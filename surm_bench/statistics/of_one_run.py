"""The interval of one run's score over test examples: the same trained model on other examples of the same kind."""

import numpy as np
from scipy.stats import binomtest, bootstrap

from surm_bench.statistics.intervals import check_level
from surm_bench.statistics.metrics import metric_of

METHODS = {"accuracy": "Wilson's interval"}  # by metric; all other metrics use:
RESAMPLED = "percentiles of 2,000 bootstrap samples of the examples"


def example_interval(
    labels: np.ndarray, predictions: np.ndarray, metric: str, level: float = 0.95, positive: int | None = None
) -> tuple[float, float]:
    """Return low and high of the interval of a score, from labels (n,) and predictions (n,).

    Accuracy has Wilson's interval (1927). Other metrics have a bootstrap interval.

    Args:
        metric: a name of surm_bench.statistics.metrics.METRICS.
        positive: the class of F1; None for other metrics.

    Raises:
        UserError: level is not between 0 and 1.
    """
    check_level(level)
    if metric == "accuracy":
        found = binomtest(int(np.sum(labels == predictions)), len(labels)).proportion_ci(level, "wilson")
        return float(found.low), float(found.high)
    found = bootstrap(
        (labels, predictions),
        metric_of(metric, positive),
        paired=True,
        vectorized=False,
        n_resamples=2000,
        confidence_level=level,
        method="percentile",
        rng=0,
    ).confidence_interval
    return float(found.low), float(found.high)
