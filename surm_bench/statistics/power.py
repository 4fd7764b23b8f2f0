"""The power of a comparison: which true differences its interval could detect, given standard error and df."""

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from surm_bench.statistics.intervals import Interval


def power(distance: float, difference: Interval, level: float = 0.95) -> float:
    """Return the probability that the interval lies above a value, given the true difference's distance to the value.

    The interval is mean ± t(df) · standard error; (mean - value) / standard error has a noncentral t distribution. The
    result is NaN without a standard error.

    Args:
        distance: true difference minus the value, in the unit of the scores.
        level: the level of the two-sided interval.
    """
    if not difference.standard_error > 0:
        return np.nan
    critical = stats.t.ppf((1 + level) / 2, difference.df)
    return float(stats.nct.sf(critical, difference.df, distance / difference.standard_error))


def detectable(difference: Interval, level: float = 0.95, wanted: float = 0.8) -> float:
    """Return the smallest true difference whose interval lies above zero with the wanted probability.

    The result is NaN without a standard error.
    """
    if not difference.standard_error > 0:
        return np.nan
    most = 100 * difference.standard_error
    return float(brentq(lambda distance: power(distance, difference, level) - wanted, 0, most))


def probability_of_no_loss(difference: Interval, margin: float, level: float = 0.95) -> float:
    """Return the probability that the interval lies above -margin, if the true difference is zero."""
    return power(margin, difference, level)
