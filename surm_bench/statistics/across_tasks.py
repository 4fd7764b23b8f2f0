"""Methods over several tasks, as description: tasks were chosen, not drawn, so there is no interval over them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from surm_bench.errors import UserError

FEWEST_TASKS = 4


class AcrossTasks(NamedTuple):
    mean_rank: np.ndarray  # (methods,), 1 is best
    mean_difference: np.ndarray  # (methods,), to the reference
    n_tasks: int
    n_missing: int  # tasks left out, where a method has no score


def across_tasks(scores: ArrayLike, reference: int) -> AcrossTasks:
    """Mean rank and mean difference to one method over the tasks where every method has a score.

    Ties share their mean rank. Ranks depend on which methods are compared, and differences add up points of different
    metrics: neither is a test.

    Args:
        scores: (methods, tasks), higher is better; NaN where there is none.
        reference: the row that differences are taken to.

    Raises:
        UserError: fewer than four tasks are complete.
    """
    scores = np.asarray(scores, np.float64)
    complete = np.isfinite(scores).all(0)
    n_tasks, n_missing = int(complete.sum()), int((~complete).sum())
    if n_tasks < FEWEST_TASKS:
        raise UserError(f"{n_tasks} tasks with a score of every method: a summary needs at least {FEWEST_TASKS}")
    scores = scores[:, complete]
    ranks = rankdata(-scores, axis=0)
    return AcrossTasks(ranks.mean(1), (scores - scores[reference]).mean(1), n_tasks, n_missing)
