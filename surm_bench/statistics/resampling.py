"""Test examples are a sample too: standard errors over them, and paired differences over seeds and examples.

Arrays are (seeds, examples): predictions, with labels (examples,) and a metric of ``statistics.metrics``; or scores of
single examples, as right or wrong, whose mean is the score of a run. Each resample draws as many examples as there are,
with replacement, and they are the same ones for both methods and all seeds.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from surm_bench.errors import UserError
from surm_bench.statistics.intervals import ErrorVariance, Interval, check_level, t_interval

Metric = Callable[[np.ndarray, np.ndarray], np.ndarray]


class PercentileInterval(NamedTuple):
    """The mean observed, and quantiles and standard deviation of the bootstrap's; NaN with fewer than two pairs."""

    mean: float
    low: float
    high: float
    standard_error: float
    n: int  # pairs of runs
    n_missing: int


def paired_difference_with_examples(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike | None = None,
    metric: Metric | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The t interval of the mean of first - second, paired by seed, for other seeds and other test examples.

    The squared standard error is the sum of two: the variance of the difference over seeds, over their number, and the
    variance of the mean difference when examples are resampled. Degrees of freedom are Welch and Satterthwaite's, of
    pairs - 1 and examples - 1. The interval keeps its level with few seeds, where ``paired_bootstrap`` does not. What
    chance adds for one seed on one example is in both parts: where that is all there is, the interval is too wide, by
    up to √2.

    Args:
        first: (seeds, examples). A pair with a number that is not finite is missing.
        second: (seeds, examples), the same seed and example at the same place.
        labels: (examples,), or None where first and second are scores of examples.
        metric: from labels (n,) and predictions (..., n) to scores (...); None where there are no labels.

    Raises:
        UserError: shapes do not fit, labels come without a metric or a metric without labels, or level is not between
            0 and 1.
    """
    return _intervals(first, second, labels, metric, level, resamples, seed, [None])[0]


def paired_difference_by_both_rules(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike | None = None,
    metric: Metric | None = None,
    level: float = 0.95,
    *,
    pooled: ErrorVariance | None,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[Interval, Interval]:
    """Return the interval of ``paired_difference_with_examples``, and the one with a pooled error variance.

    Args:
        pooled: the error variance of one run's score, of all methods of a table (``error_variance``). Twice this
            variance, with its degrees of freedom, takes the place of the variance of the differences over seeds. None:
            both intervals are the same.

    Other arguments and errors are those of ``paired_difference_with_examples``.
    """
    own, other = _intervals(first, second, labels, metric, level, resamples, seed, [None, pooled])
    return own, other


def _intervals(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike | None,
    metric: Metric | None,
    level: float,
    resamples: int,
    seed: int,
    errors: list[ErrorVariance | None],
) -> list[Interval]:
    """The interval for each error variance of a score; None: the variance of the differences themselves."""
    check_level(level)
    pairs, labels, n_missing = _pairs(first, second, labels, metric)
    n, n_examples = pairs.shape[1:]
    observed = _difference(_score(pairs, labels, metric))
    if n < 2:
        return [t_interval(observed, np.nan, np.nan, n_missing, level)] * len(errors)
    of_examples = _difference(_resampled(pairs, labels, metric, resamples, seed)).mean(-1).var(ddof=1)
    found = []
    for error in errors:
        of_seeds, df_seeds = (observed.var(ddof=1), n - 1) if error is None else (2 * error.variance, error.df)
        of_seeds /= n
        variance = of_seeds + of_examples
        df = variance**2 / (of_seeds**2 / df_seeds + of_examples**2 / (n_examples - 1)) if variance > 0 else df_seeds
        found.append(t_interval(observed, np.sqrt(n * variance), df, n_missing, level))
    return found


def paired_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike | None = None,
    metric: Metric | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> PercentileInterval:
    """The percentile interval of the mean of first - second when seeds and test examples are both resampled.

    The bootstrap of crossed factors (Owen 2007, "The pigeonhole bootstrap"). No distribution is assumed, but with few
    seeds the interval is too narrow where seeds are what varies: of normal differences it then covers about
    P(|t| < 1.96 √((n-1)/n)), 85 % for five pairs and 75 % for three. What chance adds for one seed on one example
    counts up to three times. ``paired_difference_with_examples`` is the one to decide by.

    Arguments and errors are those of ``paired_difference_with_examples``.
    """
    check_level(level)
    pairs, labels, n_missing = _pairs(first, second, labels, metric)
    n = pairs.shape[1]
    mean = float(_difference(_score(pairs, labels, metric)).mean()) if n else np.nan
    if n < 2:
        return PercentileInterval(mean, np.nan, np.nan, np.nan, n, n_missing)
    differences = _difference(_resampled(pairs, labels, metric, resamples, seed))
    # Its own stream: which examples are drawn must not depend on how many pairs there are.
    drawn = np.random.default_rng([seed, 1]).integers(n, size=differences.shape)
    means = np.take_along_axis(differences, drawn, axis=-1).mean(-1)
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2))
    return PercentileInterval(mean, float(low), float(high), float(means.std(ddof=1)), n, n_missing)


def bootstrap_standard_error(
    predictions: ArrayLike,
    labels: ArrayLike | None = None,
    metric: Metric | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> float:
    """The standard deviation of one run's score when test examples (examples,) are resampled."""
    predictions, labels = _arrays(predictions, labels, metric)
    return float(_resampled(predictions, labels, metric, resamples, seed).std(ddof=1))


def binomial_standard_error(accuracy: float, n_examples: int) -> float:
    """√(p (1 - p) / n) of an accuracy p between 0 and 1: each example is right with probability p, independently.

    Raises:
        UserError: accuracy is not between 0 and 1 (percent, perhaps), or there are no examples.
    """
    if not 0 <= accuracy <= 1 or n_examples < 1:
        raise UserError(f"accuracy {accuracy} on {n_examples} examples: give a fraction from 0 to 1, and one or more")
    return float(np.sqrt(accuracy * (1 - accuracy) / n_examples))


def _pairs(
    first: ArrayLike, second: ArrayLike, labels: ArrayLike | None, metric: Metric | None
) -> tuple[np.ndarray, np.ndarray | None, int]:
    """Both methods' complete pairs (2, pairs, examples), labels, and the number of incomplete pairs."""
    first, second = np.asarray(first), np.asarray(second)
    if first.ndim != 2 or first.shape != second.shape:
        raise UserError(f"shapes {first.shape} and {second.shape} are no pairs: give (seeds, examples) twice")
    both, labels = _arrays(np.stack([first, second]), labels, metric)
    complete = np.isfinite(both).all((0, 2))
    return both[:, complete], labels, int(np.sum(~complete))


def _arrays(
    predictions: ArrayLike, labels: ArrayLike | None, metric: Metric | None
) -> tuple[np.ndarray, np.ndarray | None]:
    predictions = np.asarray(predictions)
    if (labels is None) != (metric is None):
        raise UserError("labels and a metric go together: give both, or neither for scores of examples")
    if predictions.shape[-1] < 2:
        raise UserError(f"{predictions.shape[-1]} examples: resampling needs at least 2")
    if labels is None:
        return predictions, None
    labels = np.asarray(labels)
    if labels.shape != predictions.shape[-1:]:
        raise UserError(f"labels of shape {labels.shape} for {predictions.shape[-1]} examples: give one for each")
    return predictions, labels


def _score(
    predictions: np.ndarray,
    labels: np.ndarray | None,
    metric: Metric | None,
    examples: np.ndarray | slice = slice(None),
) -> np.ndarray:
    """The scores (...) of predictions (..., examples) on the examples named; without runs no metric is asked."""
    if not predictions.size:
        return np.empty(predictions.shape[:-1])
    if metric is None:
        return predictions[..., examples].mean(-1)
    return metric(labels[examples], predictions[..., examples])


def _resampled(
    predictions: np.ndarray, labels: np.ndarray | None, metric: Metric | None, resamples: int, seed: int
) -> np.ndarray:
    """Scores (resamples, ...) of predictions (..., examples), each on examples drawn with replacement."""
    rng, n = np.random.default_rng(seed), predictions.shape[-1]
    return np.array([_score(predictions, labels, metric, rng.integers(n, size=n)) for _ in range(resamples)])


def _difference(scores: np.ndarray) -> np.ndarray:
    """First minus second, of scores (..., 2, pairs)."""
    return scores[..., 0, :] - scores[..., 1, :]
