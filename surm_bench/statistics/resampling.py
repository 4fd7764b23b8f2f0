"""Test examples are a sample too: standard errors over examples, and paired differences over seeds and examples.

Arrays have shape (seeds, examples). They hold predictions, with labels (examples,) and a metric of
``surm_bench.metrics``, or scores of single examples (such as right or wrong), whose mean is the score of a run. Each
resample draws as many examples as there are, with replacement. Both methods and all seeds use the same drawn examples.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from surm_bench.errors import UserError
from surm_bench.statistics.intervals import ErrorVariance, Interval, check_level, t_interval

Metric = Callable[[np.ndarray, np.ndarray], np.ndarray]


class PercentileInterval(NamedTuple):
    """The observed mean, and quantiles and standard deviation of the bootstrap means; NaN with fewer than two pairs."""

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
    """Return the t interval of the mean of first - second, paired by seed, for other seeds and other test examples.

    The squared standard error is the sum of two parts: the variance of the difference over seeds, divided by the number
    of seeds, and the variance of the mean difference when examples are resampled. The degrees of freedom are Welch and
    Satterthwaite's, from pairs - 1 and examples - 1. The interval keeps its level with few seeds; the interval of
    ``paired_bootstrap`` does not. The noise of one seed on one example counts in both parts. If there is no other
    noise, the interval is too wide, by up to √2.

    Args:
        first: (seeds, examples). A pair with a non-finite number is missing.
        second: (seeds, examples), with the same seed and example at the same place as in first.
        labels: (examples,), or None if first and second are scores of examples.
        metric: from labels (n,) and predictions (..., n) to scores (...); None if there are no labels.

    Raises:
        UserError: shapes do not fit, labels come without a metric or a metric without labels, or level is not between
            0 and 1.
    """
    options = {"resamples": resamples, "seed": seed}
    return paired_difference_by_both_rules(first, second, labels, metric, level, pooled=None, **options)[0]


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
    """Return the interval of ``paired_difference_with_examples``, and the interval with a pooled error variance.

    Args:
        pooled: the error variance of one run's score, from all methods of a table (``error_variance``). Twice this
            variance, with its degrees of freedom, replaces the variance of the differences over seeds. None: both
            intervals are equal.

    Other arguments and errors are those of ``paired_difference_with_examples``.
    """
    check_level(level)
    pairs, labels, n_missing = _pairs(first, second, labels, metric)
    n, n_examples = pairs.shape[1:]
    observed = _difference(_score(pairs, labels, metric))
    if n < 2:
        unknown = t_interval(observed, np.nan, np.nan, n_missing, level)
        return unknown, unknown
    of_examples = _difference(_resampled(pairs, labels, metric, resamples, seed)).mean(-1).var(ddof=1)

    def interval(error: ErrorVariance) -> Interval:
        of_seeds = 2 * error.variance / n
        variance = of_seeds + of_examples
        df = variance**2 / (of_seeds**2 / error.df + of_examples**2 / (n_examples - 1)) if variance > 0 else error.df
        return t_interval(observed, np.sqrt(n * variance), df, n_missing, level)

    own = ErrorVariance(observed.var(ddof=1) / 2, n - 1)
    return interval(own), interval(own if pooled is None else pooled)


def paired_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike | None = None,
    metric: Metric | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> PercentileInterval:
    """Return the percentile interval of the mean of first - second when seeds and test examples are both resampled.

    The method is the bootstrap of crossed factors (Owen 2007, "The pigeonhole bootstrap"). The bootstrap assumes no
    distribution, but with few seeds its interval is too narrow if most of the variance is between seeds: for normal
    differences its coverage is then about P(|t| < 1.96 √((n-1)/n)), 85 % for five pairs and 75 % for three. The noise
    of one seed on one example counts up to three times. Decide by ``paired_difference_with_examples`` instead.

    Arguments and errors are those of ``paired_difference_with_examples``.
    """
    check_level(level)
    pairs, labels, n_missing = _pairs(first, second, labels, metric)
    n = pairs.shape[1]
    mean = float(_difference(_score(pairs, labels, metric)).mean()) if n else np.nan
    if n < 2:
        return PercentileInterval(mean, np.nan, np.nan, np.nan, n, n_missing)
    differences = _difference(_resampled(pairs, labels, metric, resamples, seed))
    # A separate random stream: the drawn examples must not depend on the number of pairs.
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
    """Return the standard deviation of one run's score when test examples (examples,) are resampled."""
    predictions, labels = _arrays(predictions, labels, metric)
    return float(_resampled(predictions, labels, metric, resamples, seed).std(ddof=1))


def binomial_standard_error(accuracy: float, n_examples: int) -> float:
    """Return √(p (1 - p) / n) for an accuracy p from 0 to 1: each example is right with probability p, independently.

    Raises:
        UserError: accuracy is not between 0 and 1 (perhaps in percent), or there are no examples.
    """
    if not 0 <= accuracy <= 1 or n_examples < 1:
        raise UserError(f"accuracy {accuracy} on {n_examples} examples: give a fraction from 0 to 1, and one or more")
    return float(np.sqrt(accuracy * (1 - accuracy) / n_examples))


def _pairs(
    first: ArrayLike, second: ArrayLike, labels: ArrayLike | None, metric: Metric | None
) -> tuple[np.ndarray, np.ndarray | None, int]:
    """Return the complete pairs of both methods (2, pairs, examples), labels, and the number of incomplete pairs."""
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
    """Return the scores (...) of predictions (..., examples) on the given examples; without runs, call no metric."""
    if not predictions.size:
        return np.empty(predictions.shape[:-1])
    if metric is None:
        return predictions[..., examples].mean(-1)
    return metric(labels[examples], predictions[..., examples])


def _resampled(
    predictions: np.ndarray, labels: np.ndarray | None, metric: Metric | None, resamples: int, seed: int
) -> np.ndarray:
    """Return scores (resamples, ...) of predictions (..., examples), each on examples drawn with replacement."""
    rng, n = np.random.default_rng(seed), predictions.shape[-1]
    return np.array([_score(predictions, labels, metric, rng.integers(n, size=n)) for _ in range(resamples)])


def _difference(scores: np.ndarray) -> np.ndarray:
    """Return first minus second method, from scores (..., 2, pairs)."""
    return scores[..., 0, :] - scores[..., 1, :]
