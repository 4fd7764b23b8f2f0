"""Holm's correction by its own definition, and p values against scipy's paired t test."""

import numpy as np
import pytest
from scipy import stats

from surm_bench.errors import UserError
from surm_bench.statistics import holm, p_value, paired_difference


def rejected(p_values: list[float], level: float) -> set[int]:
    """Step down: the smallest at level/m, the next at level/(m−1), … until one is not rejected (Holm, 1979)."""
    found: set[int] = set()
    for place, index in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[index] > level / (len(p_values) - place):
            break
        found.add(int(index))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_holm_rejects_what_the_step_down_rejects(seed):
    p_values = np.random.default_rng(seed).uniform(0, 0.2, 6).tolist()
    adjusted = holm(p_values)
    for level in (0.01, 0.05, 0.1, 0.3):
        assert {i for i, value in enumerate(adjusted) if value <= level} == rejected(p_values, level)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    with pytest.raises(UserError, match="each must be from 0 to 1"):
        holm([0.1, float("nan")])


def test_the_p_value_is_that_of_the_paired_t_test():
    first, second = np.random.default_rng(0).normal(size=(2, 5)) + [[0.5], [0.0]]
    difference = paired_difference(first, second)
    assert p_value(difference) == pytest.approx(stats.ttest_rel(first, second).pvalue)


def test_one_pair_has_no_p_value():
    """Without a spread over seeds there is no test: a single pair must not look like a sure difference."""
    assert np.isnan(p_value(paired_difference([0.9], [0.8])))
    assert p_value(paired_difference([0.9, 0.8], [0.9, 0.8])) == 1
