"""Several comparisons judged together: p values of differences, and Holm's correction of a family of them."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from surm_bench.errors import UserError
from surm_bench.statistics.intervals import Interval


def p_value(difference: Interval) -> float:
    """Two-sided, of no difference: the t test that the interval belongs to. NaN without a standard error."""
    if not difference.standard_error > 0:
        return float("nan") if np.isnan(difference.mean) else float(difference.mean == 0)
    return float(2 * stats.t.sf(abs(difference.mean) / difference.standard_error, difference.df))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values adjusted so that the chance of any false rejection in the family is kept (Holm, 1979), in order.

    The i-th smallest of m is multiplied by m − i + 1, and none is below a smaller one's. Whatever the dependence
    between the comparisons is.

    Raises:
        UserError: a value that is no probability; a comparison that is missing cannot be in the family.
    """
    given = np.asarray(p_values, np.float64)
    if not ((given >= 0) & (given <= 1)).all():
        raise UserError(f"p values {given.tolist()}: each must be from 0 to 1")
    order = np.argsort(given, kind="stable")
    factors = np.arange(len(given), 0, -1)
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * given[order]), 1)
    return adjusted.tolist()
