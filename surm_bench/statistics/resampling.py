"""Test examples are a sample too: paired differences over other seeds and other examples.

Predictions have shape (seeds, examples), labels (examples,). A metric takes labels (..., n) and predictions (..., n)
and returns scores (...), as those of ``surm_bench.metrics``. Each resample draws as many examples as there are, with
replacement. Both methods and all seeds use the same drawn examples.
"""

import numpy as np
from numpy.typing import ArrayLike

from surm_bench.errors import UserError
from surm_bench.metrics import sample_scores
from surm_bench.metrics.registry import Function
from surm_bench.statistics.intervals import ErrorVariance, Interval, check_level, t_interval

AT_ONCE = 50  # resamples: few enough that their arrays stay in the processor's cache


def paired_difference_with_examples(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike,
    metric: Function,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    pooled: ErrorVariance | None = None,
) -> Interval:
    """Return the t interval of the mean of first - second, paired by seed, for other seeds and other test examples.

    The squared standard error is the sum of two parts: the variance of the difference over seeds, divided by the number
    of seeds, and the variance of the mean difference when examples are resampled. The degrees of freedom are Welch and
    Satterthwaite's, from pairs - 1 and examples - 1. The interval keeps its level with few seeds, unlike a bootstrap of
    seeds and examples. The noise of one seed on one example counts in both parts. If there is no other noise, the
    interval is too wide, by up to √2.

    Args:
        first: predictions (seeds, examples). A pair with a non-finite number is missing.
        second: (seeds, examples), with the same seed and example at the same place as in first.
        labels: (examples,).
        metric: from labels (..., n) and predictions (..., n) to scores (...).
        pooled: the error variance of one run's score, from all methods of a table (``error_variance``). Twice this
            variance, with its degrees of freedom, replaces the variance of the differences over seeds.

    Raises:
        UserError: shapes do not fit, or level is not between 0 and 1.
    """
    check_level(level)
    pairs, labels, n_missing = _pairs(first, second, labels)
    n, n_examples = pairs.shape[1:]
    observed = _difference(metric(labels, pairs)) if n else np.empty(0)
    if n < 2:
        return t_interval(observed, np.nan, np.nan, n_missing, level)
    error = ErrorVariance(observed.var(ddof=1) / 2, n - 1) if pooled is None else pooled
    of_seeds = 2 * error.variance / n
    of_examples = _difference(_resampled(pairs, labels, metric, resamples, seed)).mean(-1).var(ddof=1)
    variance = of_seeds + of_examples
    df = variance**2 / (of_seeds**2 / error.df + of_examples**2 / (n_examples - 1)) if variance > 0 else error.df
    return t_interval(observed, np.sqrt(n * variance), df, n_missing, level)


def _pairs(first: ArrayLike, second: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the complete pairs of both methods (2, pairs, examples), labels, and the number of incomplete pairs."""
    first, second, labels = np.asarray(first), np.asarray(second), np.asarray(labels)
    if first.ndim != 2 or first.shape != second.shape:
        raise UserError(f"shapes {first.shape} and {second.shape} are no pairs: give (seeds, examples) twice")
    if first.shape[1] < 2:
        raise UserError(f"{first.shape[1]} examples: resampling needs at least 2")
    if labels.shape != first.shape[1:]:
        raise UserError(f"labels of shape {labels.shape} for {first.shape[1]} examples: give one for each")
    both = np.stack([first, second])
    complete = np.isfinite(both).all((0, 2))
    return both[:, complete], labels, int(np.sum(~complete))


def _resampled(pairs: np.ndarray, labels: np.ndarray, metric: Function, resamples: int, seed: int) -> np.ndarray:
    """Return scores (resamples, 2, pairs) of predictions (2, pairs, examples), on examples drawn with replacement."""
    rng, n = np.random.default_rng(seed), len(labels)
    sizes = [min(AT_ONCE, resamples - done) for done in range(0, resamples, AT_ONCE)]
    scores = [sample_scores(metric, labels, pairs, rng.integers(n, size=(size, n))) for size in sizes]
    return np.ascontiguousarray(np.moveaxis(np.concatenate(scores, axis=-1), -1, 0))


def _difference(scores: np.ndarray) -> np.ndarray:
    """Return first minus second method, from scores (..., 2, pairs)."""
    return scores[..., 0, :] - scores[..., 1, :]
