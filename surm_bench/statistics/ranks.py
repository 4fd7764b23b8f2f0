"""Ranks of methods over several tasks, as description: tasks were chosen, not drawn, so there is no interval."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

FEWEST_TASKS = 4


def mean_ranks(scores: ArrayLike) -> np.ndarray:
    """The mean rank of each method over the tasks, 1 being best, among the methods that have a score of every task.

    Ties share their mean rank. It depends on which methods are compared, and is no test.

    Args:
        scores: (methods, tasks), higher is better; NaN where there is none.

    Returns:
        (methods,): NaN for a method without a score of every task, and for all where there are fewer than four tasks.
    """
    scores = np.asarray(scores, np.float64)
    ranks = np.full(len(scores), np.nan)
    complete = np.isfinite(scores).all(1)
    if scores.shape[1] >= FEWEST_TASKS and complete.any():
        ranks[complete] = rankdata(-scores[complete], axis=0).mean(1)
    return ranks
