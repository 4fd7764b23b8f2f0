"""Comparisons of two methods that decide a claim: a table and a figure of their intervals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd

from surm_bench.report.panels import STYLE, new_figure, save
from surm_bench.report.tables import MISSING, Cell, Column, Table
from surm_bench.statistics import Interval, detectable, holm, p_value, probability_of_no_loss, verdict

LOWER = "Where a lower score is better ({tasks}), the difference is the second score minus the first."
CAPTION = (
    "Difference is the first score minus the second, in points, with its {level:.0%} interval (t, "
    "Welch–Satterthwaite). Runs are paired by seed: both runs of a pair have the same training rows, in the same "
    "order, and the same initial head. The interval holds for other seeds and other test examples at the chosen "
    "settings; tuning again might choose other settings, which the interval does not cover. There are two rules for "
    "the variance over seeds: the variance of the two methods alone, or the error variance pooled over all methods of "
    "the table except the linear probe. Claims of {own} use the two methods alone, later claims use the pooled "
    "variance; Check is the interval by the other rule, and p (Check) its p, corrected likewise. Parameters are the "
    "trained numbers; in brackets is the smallest count of numbers that can represent the trained change, if it is "
    "another (a circulant matrix C(a⊙b) trains 2d numbers and needs d). Pairs is the number of seeds for which both "
    "runs have a score, of the seeds fixed in advance. p is two-sided, and never given below 0.01 if there are three "
    "seeds. p (Holm) is corrected for several comparisons by Holm's method: primary comparisons together with all "
    "primary comparisons registered on the same day, secondary comparisons within their claim; {missing} means that a "
    "comparison of this family is not complete or has no interval. Could see is the true difference that the interval "
    "separates from zero with a probability of 80 %. No loss at 0 is the probability that the whole interval lies "
    "above minus the margin if the true difference is zero. The verdict is better, no loss (the loss is below the "
    "margin), worse within the margin, worse, or undecided; it follows from the interval of the comparison alone, and "
    "is pending until all pairs are complete and, with a pooled variance, all methods of the table have been run on "
    "all seeds; until then no number is shown. A comparison that was added when its scores had been seen is described "
    "and not tested. Bold: a primary comparison."
)
COLUMNS = ["Method", "Compared with", "Parameters", "Experiment", "Task", "Pairs", "Scores", "Difference", "Check"]
COLUMNS += ["p", "p (Holm)", "p (Check)", "Could see", "No loss at 0", "Verdict"]
PENDING, DESCRIBED = "pending", "described"


class Corrected(NamedTuple):
    """The p values of a comparison, corrected within its family, by both rules; None if a comparison is missing."""

    declared: float | None
    check: float | None


@dataclass(frozen=True)
class Compared:
    """Two methods on one task, compared seed by seed.

    Attributes:
        first, partner: the labels of the two methods.
        experiment, task: where both methods were run.
        primary: whether the comparison is in its claim's primary family; otherwise it is in the secondary family.
        registered: the date of the claim.
        greater_is_better: whether a greater score is better.
        margin: the largest loss that counts as no loss, as a fraction.
        trained, stored: numbers of each adapter, trained and needed to serve; None for an adapter that was not run.
        scores: the mean score of each method over the complete pairs.
        difference: the gain of first over partner, as a fraction, by the rule that was declared: first minus partner,
            or partner minus first if a lower score is better.
        check: the same difference by the other rule for the variance over seeds.
        tested: whether a verdict is asked for; otherwise the comparison is only described.
        planned: the number of pairs fixed in advance.
        lacking: a sentence that says what is missing before the comparison may be judged; empty: nothing.
        runs: the ids of the runs of the pairs.
    """

    first: str
    partner: str
    experiment: str
    task: str
    primary: bool
    registered: str
    margin: float
    trained: tuple[int | None, int | None]
    stored: tuple[int | None, int | None]
    scores: tuple[float, float]
    difference: Interval
    check: Interval
    planned: int
    lacking: str = ""
    tested: bool = True
    runs: tuple[str, ...] = ()
    greater_is_better: bool = True

    @property
    def title(self) -> str:
        """The difference and its task, for example ``Circulant − LoRA r=1, rte``."""
        names = (self.first, self.partner) if self.greater_is_better else (self.partner, self.first)
        return f"{' − '.join(names)}, {self.task}"

    @property
    def verdict(self) -> str:
        """The verdict; PENDING while something is lacking; DESCRIBED if none is asked for."""
        if self.lacking:
            return PENDING
        low, high = self.difference.low, self.difference.high
        return str(verdict(low, high, self.margin)) if self.tested else DESCRIBED

    @property
    def p(self) -> float:
        """The two-sided p value of no difference, by the rule that was declared; NaN if no test is asked for."""
        return p_value(self.difference) if self.tested else np.nan


def verdict_caption(compared: Iterable[Compared], level: float, own: Sequence[str]) -> str:
    """Return how the numbers in a table of verdicts are made; the text is the same for every claim.

    Args:
        compared: the comparisons of all claims.
        level: the confidence level of the intervals.
        own: the dates of the claims that take the variance over seeds from the two methods alone.
    """
    caption = CAPTION.format(level=level, missing=MISSING, own=" and ".join(own) or "no day")
    lower = sorted({one.task for one in compared if not one.greater_is_better})
    return f"{caption} {LOWER.format(tasks=', '.join(lower))}" if lower else caption


def primary_families(compared: Sequence[Compared]) -> dict[Compared, Corrected]:
    """Return the corrected p values of each primary comparison, within the comparisons registered on the same day."""
    days = dict.fromkeys(one.registered for one in compared)
    families = [[one for one in compared if one.primary and one.registered == day] for day in days]
    return {one: corrected for family in families for one, corrected in _corrected(family).items()}


def verdict_table(
    compared: Sequence[Compared], primaries: Mapping[Compared, Corrected], level: float, caption: str = ""
) -> Table:
    """Return a table with one row per comparison of a claim, the primary comparisons first.

    Args:
        compared: the comparisons of one claim.
        primaries: the corrected p values of all claims, from primary_families.
        level: the confidence level of the intervals.
        caption: the text below the table.
    """
    secondary = [one for one in compared if not one.primary]
    corrected = {**primaries, **_corrected(secondary)}
    ordered = sorted(compared, key=lambda one: not one.primary)
    rows = [
        [*map(Cell, _texts(one, corrected[one], level)), Cell(one.verdict, "best" if one.primary else "")]
        for one in ordered
    ]
    data = pd.DataFrame([_numbers(one, corrected[one], level) for one in ordered])
    return Table([*map(Column, COLUMNS)], rows, caption, data)


def _corrected(family: Sequence[Compared]) -> dict[Compared, Corrected]:
    """Correct the p values of the comparisons that are tested; comparisons that are only described have none."""
    tested = [one for one in family if one.tested]
    declared = _holm([one.p for one in tested], tested)
    check = _holm([p_value(one.check) for one in tested], tested)
    corrected = [Corrected(*both) for both in zip(declared, check, strict=True)]
    return dict.fromkeys(family, Corrected(None, None)) | dict(zip(tested, corrected, strict=True))


def _holm(values: Sequence[float], family: Sequence[Compared]) -> Sequence[float | None]:
    """Correct the p values of a family; each is None if one of them is missing."""
    whole = not any(one.lacking for one in family) and np.isfinite(values).all()
    return holm(values) if family and whole else [None] * len(family)


def verdict_figure(compared: Sequence[Compared], path: Path) -> list[Path]:
    """Draw the differences in points with their intervals, one line per comparison; nothing if no interval exists yet.

    The bar behind each interval shows the losses that count as no loss. A filled mark is a primary comparison.
    """
    drawn = [one for one in compared if np.isfinite(one.difference.low)]
    if not drawn:
        return []
    with mpl.rc_context(STYLE):
        figure = new_figure(1.1 + 0.36 * len(drawn))
        axes = figure.subplots()
        margins = [100 * one.margin for one in drawn]
        axes.barh(
            range(len(drawn)), margins, left=[-m for m in margins], color="#E8E8E8", label="a loss that counts as none"
        )
        axes.axvline(0, color="#5F5F5F", linewidth=1)
        for place, one in enumerate(drawn):
            mean, low, high = (100 * value for value in one.difference[:3])
            color = decided_color(one.difference)
            look = {"fmt": "o", "color": color, "capsize": 3, "markerfacecolor": color if one.primary else "white"}
            axes.errorbar(mean, place, xerr=[[mean - low], [high - mean]], **look)
        titles = [one.title for one in drawn]
        where = [f"{one.experiment}, " * (titles.count(one.title) > 1) for one in drawn]
        names = [f"{one.title} ({place}n={one.difference.n})" for one, place in zip(drawn, where, strict=True)]
        axes.set_yticks(range(len(drawn)), names)
        axes.set_ylim(len(drawn) - 0.5, -0.5)
        axes.set_xlabel("difference in points")
        axes.legend(loc="best", frameon=False)
        return save(figure, path)


def decided_color(difference: Interval) -> str:
    """Return the colour of an interval: blue if it lies above zero, orange if it lies below, grey otherwise."""
    return "#0072B2" if difference.low > 0 else "#D55E00" if difference.high < 0 else "#5F5F5F"


def _texts(one: Compared, corrected: Corrected, level: float) -> list[str]:
    difference = one.difference
    return [
        one.first,
        one.partner,
        " / ".join(map(_counts, one.trained, one.stored)),
        one.experiment,
        one.task,
        f"{difference.n} of {one.planned}",
        " / ".join(_points(score) for score in one.scores),
        _interval(difference),
        _interval(one.check, mean=False),
        _probability(one.p, difference.n),
        _probability(corrected.declared, difference.n),
        _probability(corrected.check, difference.n),
        _points(detectable(difference, level)),
        _share(probability_of_no_loss(difference, one.margin, level)),
    ]


def _numbers(one: Compared, corrected: Corrected, level: float) -> dict:
    names = ("first", "partner", "experiment", "task", "primary", "registered", "margin", "planned")
    return {
        **{name: getattr(one, name) for name in names},
        **one.difference._asdict(),
        **{f"check_{name}": getattr(one.check, name) for name in ("low", "high", "standard_error", "df")},
        "p": one.p,
        "p_holm": corrected.declared,
        "p_check": corrected.check,
        "could_see": detectable(one.difference, level),
        "no_loss_at_0": probability_of_no_loss(one.difference, one.margin, level),
        "verdict": one.verdict,
    }


def _counts(trained: int | None, stored: int | None) -> str:
    if trained is None:
        return MISSING
    return f"{trained:,}" if stored in (None, trained) else f"{trained:,} ({stored:,})"


def _points(score: float) -> str:
    return MISSING if np.isnan(score) else f"{100 * score:.1f}"


def _interval(difference: Interval, mean: bool = True) -> str:
    if np.isnan(difference.mean):
        return MISSING
    shown = f"{100 * difference.mean:+.1f}"
    if np.isnan(difference.low):
        return shown if mean else MISSING
    ends = f"[{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"
    return f"{shown} {ends}" if mean else ends


def _probability(value: float | None, pairs: int) -> str:
    """Return the p value as text. Three pairs say too little about a distribution's tails for a value below 0.01."""
    least = 0.01 if pairs <= 3 else 0.001
    if value is None or np.isnan(value):
        return MISSING
    return f"< {least:g}" if value < least else f"{value:.3f}"


def _share(value: float) -> str:
    return MISSING if np.isnan(value) else f"{value:.0%}"
