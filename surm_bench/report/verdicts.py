"""What comparisons of two methods say about a claim: a table and a picture of their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

from surm_bench.report.panels import STYLE, new_figure, save
from surm_bench.report.tables import MISSING, Cell, Column, Table
from surm_bench.statistics import Interval, holm, p_value, probability_better, verdict

CAPTION = (
    "Difference: first minus partner, in points, paired by seed (the same training rows, order and start of the head), "
    "with its {level:.0%} interval over other seeds and other test examples (t, Welch–Satterthwaite). Pairs: seeds of "
    "which both runs are there, of those that were fixed in advance. p: two-sided, and corrected for its family by "
    "Holm's method ({missing}: not all of the family are there). P(better): one minus the one-sided p value, which is "
    "the posterior of normal differences under a flat prior. Verdict: better, no loss (less than {margin:g} point), "
    "worse within the margin, worse, or undecided; pending until all pairs are there. Bold: a primary comparison."
)
COLUMNS = ["First", "Partner", "Parameters", "Task", "Pairs", "Scores", "Difference", "p", "p (Holm)", "P(better)"]
PENDING = "pending"


@dataclass(frozen=True)
class Compared:
    """Two methods on one task, compared seed by seed.

    Attributes:
        first, partner: their labels.
        primary: of the primary family of its claim, or of the secondary one.
        parameters: trained numbers of the adapter of both, None for one that was not run.
        scores: the mean scores of both over their complete pairs.
        difference: of first minus partner, as a fraction.
        planned: how many pairs were fixed in advance.
    """

    first: str
    partner: str
    task: str
    primary: bool
    parameters: tuple[int | None, int | None]
    scores: tuple[float, float]
    difference: Interval
    planned: int

    @property
    def complete(self) -> bool:
        """Whether every planned pair has been run; a run that diverged counts as run."""
        return self.difference.n + self.difference.n_missing == self.planned

    def verdict(self, margin: float) -> str:
        """The verdict, or that it is too early for one."""
        low, high = self.difference.low, self.difference.high
        return str(verdict(low, high, margin)) if self.complete else PENDING


def verdict_caption(margin: float, level: float) -> str:
    """How the numbers of a verdict's table are made, the same for every claim."""
    return CAPTION.format(level=level, missing=MISSING, margin=100 * margin)


def verdict_table(compared: Sequence[Compared], margin: float, level: float) -> Table:
    """One row a comparison, the primary ones first; each family has its own correction."""
    rows, data = [], []
    for primary in (True, False):
        family = [one for one in compared if one.primary == primary]
        values = [p_value(one.difference) for one in family]
        whole = all(one.complete for one in family) and np.isfinite(values).all()
        corrected = holm(values) if family and whole else [None] * len(family)
        for one, value, adjusted in zip(family, values, corrected, strict=True):
            rows.append(
                [*map(Cell, _texts(one, value, adjusted)), Cell(one.verdict(margin), "best" if primary else "")]
            )
            data.append(_numbers(one, value, adjusted, margin))
    columns = [*map(Column, COLUMNS), Column("Verdict")]
    return Table(columns, rows, verdict_caption(margin, level), pd.DataFrame(data))


def verdict_figure(compared: Sequence[Compared], margin: float, path: Path) -> list[Path]:
    """The differences in points with their intervals, one line a comparison; nothing where there is no interval yet.

    The band is what counts as no loss. Filled: primary.
    """
    drawn = [one for one in compared if np.isfinite(one.difference.low)]
    if not drawn:
        return []
    with mpl.rc_context(STYLE):
        figure = new_figure(1.1 + 0.36 * len(drawn))
        axes = figure.subplots()
        axes.axvspan(-100 * margin, 0, color="#E8E8E8", label=f"a loss below {100 * margin:g} point")
        axes.axvline(0, color="#5F5F5F", linewidth=1)
        for place, one in enumerate(drawn):
            mean, low, high = (100 * value for value in one.difference[:3])
            color = "#0072B2" if low > 0 else "#D55E00" if high < 0 else "#5F5F5F"
            look = {"fmt": "o", "color": color, "capsize": 3, "markerfacecolor": color if one.primary else "white"}
            axes.errorbar(mean, place, xerr=[[mean - low], [high - mean]], **look)
        names = [f"{one.first} − {one.partner}, {one.task} (n={one.difference.n})" for one in drawn]
        axes.set_yticks(range(len(drawn)), names)
        axes.set_ylim(len(drawn) - 0.5, -0.5)
        axes.set_xlabel("difference in points, first minus partner")
        axes.legend(loc="best", frameon=False)
        return save(figure, path)


def _texts(one: Compared, value: float, adjusted: float | None) -> list[str]:
    difference = one.difference
    return [
        one.first,
        one.partner,
        " / ".join(MISSING if count is None else f"{count:,}" for count in one.parameters),
        one.task,
        f"{difference.n} of {one.planned}",
        " / ".join(_points(score) for score in one.scores),
        _interval(difference),
        _probability(value),
        _probability(adjusted),
        _probability(probability_better(difference)),
    ]


def _numbers(one: Compared, value: float, adjusted: float | None, margin: float) -> dict:
    names = ("first", "partner", "task", "primary", "planned")
    return {
        **{name: getattr(one, name) for name in names},
        **one.difference._asdict(),
        "p": value,
        "p_holm": adjusted,
        "verdict": one.verdict(margin),
    }


def _points(score: float) -> str:
    return MISSING if np.isnan(score) else f"{100 * score:.1f}"


def _interval(difference: Interval) -> str:
    if np.isnan(difference.mean):
        return MISSING
    shown = f"{100 * difference.mean:+.1f}"
    if np.isnan(difference.low):
        return shown
    return f"{shown} [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"


def _probability(value: float | None) -> str:
    if value is None or np.isnan(value):
        return MISSING
    return "< 0.001" if value < 0.001 else "> 0.999" if value > 0.999 else f"{value:.3f}"
