"""Ranks of methods over several tasks, only as a description: tasks were chosen, not drawn, so there is no interval."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

FEWEST_TASKS = 4


def mean_ranks(scores: ArrayLike) -> np.ndarray:
    """Return the mean rank of each method over the tasks (1 is best), among the methods with a score on every task.

    Tied methods share their mean rank. A mean rank depends on which methods are compared, and is not a test.

    Args:
        scores: (methods, tasks), higher is better; NaN for a missing score.

    Returns:
        (methods,): NaN for a method without a score on every task, and for all methods with fewer than four tasks.
    """
    scores = np.asarray(scores, np.float64)
    ranks = np.full(len(scores), np.nan)
    complete = np.isfinite(scores).all(1)
    if scores.shape[1] >= FEWEST_TASKS and complete.any():
        ranks[complete] = rankdata(-scores[complete], axis=0).mean(1)
    return ranks
