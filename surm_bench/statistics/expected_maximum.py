"""Expected validation performance: how good the best of n settings is, as a function of n."""

import numpy as np
from numpy.typing import ArrayLike

from surm_bench.errors import UserError


def expected_maximum(scores: ArrayLike) -> np.ndarray:
    """The expected best of n = 1, ..., N scores drawn with replacement from the N that were observed: (N,).

    Σᵢ x₍ᵢ₎ ((i/N)ⁿ - ((i-1)/N)ⁿ) over the sorted scores: Dodge et al. 2019, "Show Your Work", arXiv 1909.03004. The
    model: settings are drawn independently, and their scores have the observed distribution. A grid was not drawn at
    random; its curve is that of a search which draws from it. Never above the best observed score, the curve is too low
    on average, most so near n = N.

    Raises:
        UserError: there are no scores, or one is not finite (give a diverged setting the score of chance).
    """
    scores = np.sort(np.asarray(scores, np.float64))
    if not len(scores) or not np.isfinite(scores).all():
        raise UserError(f"scores {scores.tolist()}: give one or more finite numbers, chance for a diverged setting")
    n_scores = len(scores)
    draws = np.arange(1, n_scores + 1)[:, None]
    distribution = (np.arange(n_scores + 1) / n_scores) ** draws  # of the best of n, at each score
    return np.diff(distribution, axis=-1) @ scores
