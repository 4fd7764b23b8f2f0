"""Several comparisons judged together: p values of differences, and Holm's correction of a family of them."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from surm_bench.errors import UserError
from surm_bench.statistics.intervals import Interval


def p_value(difference: Interval) -> float:
    """Return the two-sided p value of no difference, from the t test of the interval. NaN without a standard error."""
    if np.isnan(difference.standard_error):
        return float("nan")
    if difference.standard_error == 0:
        return float(difference.mean == 0)
    return float(2 * stats.t.sf(abs(difference.mean) / difference.standard_error, difference.df))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values, adjusted to control the chance of any false rejection in the family (Holm, 1979), in order.

    The i-th smallest of m values is multiplied by m − i + 1. An adjusted value is never below the adjusted value of a
    smaller p value. The correction holds for every dependence between the comparisons.

    Raises:
        UserError: a value is not a probability; a missing comparison (NaN) cannot be in the family.
    """
    given = np.asarray(p_values, np.float64)
    if not ((given >= 0) & (given <= 1)).all():
        raise UserError(f"p values {given.tolist()}: each must be from 0 to 1")
    order = np.argsort(given, kind="stable")
    factors = np.arange(len(given), 0, -1)
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * given[order]), 1)
    return adjusted.tolist()
