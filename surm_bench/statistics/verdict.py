"""The verdict from the interval of a difference: "better", "no loss" within a margin, or another one."""

from enum import StrEnum

from surm_bench.errors import UserError


class Verdict(StrEnum):
    BETTER = "better"
    NO_LOSS = "no loss"
    WORSE_WITHIN_MARGIN = "worse within the margin"
    WORSE = "worse"
    UNDECIDED = "undecided"


def check_margin(margin: float) -> None:
    """Raise UserError unless margin, the largest loss that counts as no loss, is positive."""
    if not margin > 0:
        raise UserError(f"margin {margin}: give a positive number, the largest loss that counts as none")


def verdict(low: float, high: float, margin: float) -> Verdict:
    """Return the verdict on a method, if its score minus its partner's score has the interval from low to high.

    - better: low > 0.
    - no loss: -margin < low ≤ 0 ≤ high. The method is non-inferior, and no difference is shown.
    - worse within the margin: -margin < low and high < 0. The method is non-inferior, but a loss is shown.
    - worse: low ≤ -margin and high < 0. A loss is shown, and the loss may exceed the margin.
    - undecided: low ≤ -margin and high ≥ 0, or an end is NaN.

    The first three verdicts support a claim of "virtually no loss". With a two-sided 95 % interval each side is a test
    at 2.5 %, as is usual for non-inferiority.

    Args:
        margin: the largest loss that counts as no loss, positive, in the unit of low and high (0.01 is one point of an
            accuracy from 0 to 1).

    Raises:
        UserError: margin is not positive, or low is above high.
    """
    check_margin(margin)
    if low > high:
        raise UserError(f"an interval from {low} to {high}: give the lower end first")
    if low > 0:
        return Verdict.BETTER
    if high < 0:
        return Verdict.WORSE_WITHIN_MARGIN if low > -margin else Verdict.WORSE
    return Verdict.NO_LOSS if low > -margin and high >= 0 else Verdict.UNDECIDED
