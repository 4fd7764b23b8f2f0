"""Expected validation performance: the expected best score of n settings, as a function of n."""

import numpy as np
from numpy.typing import ArrayLike

from surm_bench.errors import UserError


def expected_maximum(scores: ArrayLike) -> np.ndarray:
    """Return the expected best of n = 1, ..., N scores drawn with replacement from the N observed scores: (N,).

    Σᵢ x₍ᵢ₎ ((i/N)ⁿ - ((i-1)/N)ⁿ) over the sorted scores: Dodge et al. 2019, "Show Your Work", arXiv 1909.03004. The
    model: settings are drawn independently, and their scores have the observed distribution. A grid is not drawn at
    random; the curve of a grid is the curve of a random search that draws settings from the grid. The curve is never
    above the best observed score. It is therefore too low on average, most of all near n = N.

    Raises:
        UserError: there are no scores, or a score is not finite (give a diverged setting the score of chance).
    """
    scores = np.sort(np.asarray(scores, np.float64))
    if not len(scores) or not np.isfinite(scores).all():
        raise UserError(f"scores {scores.tolist()}: give one or more finite numbers, chance for a diverged setting")
    n_scores = len(scores)
    draws = np.arange(1, n_scores + 1)[:, None]
    distribution = (np.arange(n_scores + 1) / n_scores) ** draws  # P(best of n ≤ each score)
    return np.diff(distribution, axis=-1) @ scores
