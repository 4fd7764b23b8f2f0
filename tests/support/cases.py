"""Cases of a test that takes long for each: some in every run of the tests, the others in ``make test-slow``."""

from collections.abc import Iterable

import pytest
from _pytest.mark import ParameterSet


def slow_but(quick: Iterable[str], cases: Iterable[str]) -> list[str | ParameterSet]:
    """The cases, marked as slow but for the quick ones.

    Raises:
        ValueError: a quick one is none of the cases.
    """
    cases, quick = list(cases), set(quick)
    if unknown := quick - set(cases):
        raise ValueError(f"none of the cases: {', '.join(sorted(unknown))}")
    return [case if case in quick else pytest.param(case, marks=pytest.mark.slow) for case in cases]
