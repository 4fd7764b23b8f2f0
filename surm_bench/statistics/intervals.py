"""Student t intervals over seeds: for a mean, and for a paired difference.

The model of all intervals: scores are independent between seeds and normal around their mean.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from surm_bench.errors import UserError


class Interval(NamedTuple):
    """mean ± t(df) · standard_error, two-sided. Numbers that too few seeds cannot determine are NaN."""

    mean: float
    low: float
    high: float
    standard_error: float
    df: float
    n: int  # seeds, or pairs of runs for a difference
    n_missing: int


class ErrorVariance(NamedTuple):
    """The variance of a run's score that its method and its seed do not explain, with df degrees of freedom."""

    variance: float
    df: int


def mean_interval(scores: ArrayLike, level: float = 0.95) -> Interval:
    """Return the t interval of the mean of scores (seeds,), from their own variance and n - 1 degrees of freedom."""
    finite, n_missing = _finite(scores)
    deviation = finite.std(ddof=1) if len(finite) > 1 else np.nan
    return t_interval(finite, deviation, len(finite) - 1, n_missing, level)


def paired_difference(first: ArrayLike, second: ArrayLike, level: float = 0.95) -> Interval:
    """Return the t interval of the mean of first - second, paired by seed, with pairs - 1 degrees of freedom.

    The interval covers other seeds on the same test examples; ``paired_difference_with_examples`` also covers other
    test examples.

    Args:
        first: scores (seeds,). A pair with a missing run is missing.
        second: scores (seeds,), with the same seed at the same place as in first.

    Raises:
        UserError: the numbers of seeds differ.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape:
        raise UserError(f"scores of shapes {first.shape} and {second.shape} cannot be paired: give both the same seeds")
    with np.errstate(invalid="ignore"):  # inf - inf is a missing pair
        return mean_interval(first - second, level)


def error_variance(scores: ArrayLike) -> ErrorVariance | None:
    """Return the residual variance of the two-way model: score = mean of the method + effect of the seed + error.

    Methods paired by seed use the same training rows in the same order for a seed, and so share the effect of the
    seed. The variance of a difference of two methods over seeds is twice the error variance.

    Args:
        scores: (methods, seeds). A method with a non-finite score is left out.

    Returns:
        The variance with (methods - 1) · (seeds - 1) degrees of freedom; None with fewer than two methods or seeds.
    """
    scores = np.asarray(scores, np.float64)
    scores = scores[np.isfinite(scores).all(1)] if scores.ndim == 2 else np.empty((0, 0))
    df = (scores.shape[0] - 1) * (scores.shape[1] - 1)
    if min(scores.shape) < 2:
        return None
    residuals = scores - scores.mean(1, keepdims=True) - scores.mean(0, keepdims=True) + scores.mean()
    return ErrorVariance(float(np.sum(residuals**2) / df), df)


def t_interval(scores: np.ndarray, deviation: float, df: float, n_missing: int, level: float) -> Interval:
    """Return the interval around the mean of scores (n,), from a standard deviation with df degrees of freedom."""
    check_level(level)
    n = len(scores)
    mean, standard_error = (scores.mean(), deviation / np.sqrt(n)) if n else (np.nan, np.nan)
    half = stats.t.ppf((1 + level) / 2, df) * standard_error
    return Interval(*map(float, (mean, mean - half, mean + half, standard_error, df)), n, n_missing)


def check_level(level: float) -> None:
    """Raise UserError unless level, the probability of an interval, is between 0 and 1."""
    if not 0 < level < 1:
        raise UserError(f"level={level} is not possible: give a number between 0 and 1, such as 0.95")


def _finite(scores: ArrayLike) -> tuple[np.ndarray, int]:
    """Return the finite scores of scores (seeds,), and the number of scores that are not finite."""
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1:
        raise UserError(f"scores of shape {scores.shape} are not possible: give one score for each seed, (seeds,)")
    finite = scores[np.isfinite(scores)]
    return finite, len(scores) - len(finite)
