"""One colour and marker per method, in all figures and on the report page, in the order of the tables."""

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

SHADES = {  # of each family: hues that colour-blind readers can distinguish
    "structured": ("#0072B2", "#56A8DB", "#00416B"),
    "LoRA": ("#D55E00", "#F0A15E", "#8A3D00"),
    "bottleneck": ("#008A63", "#5CC2A3", "#00523B"),
    "other PEFT": ("#A3488A", "#D08DBE", "#632752"),
    "own parameters": ("#333333", "#8A6A3F", "#000000"),
}
MARKERS = "os^Dv<>p"  # with three shades: 24 distinct methods per family
FEW = 6  # lines that a reader can follow at once
OTHERS = "#C8C8C8"


class Look(NamedTuple):
    family: str
    color: str
    marker: str  # in matplotlib's notation


def method_looks(families: Mapping[str, str]) -> dict[str, Look]:
    """Return the look of each method: the colour shows its family, marker and shade distinguish it within the family.

    Args:
        families: the family of each label (see frames.adapter_family), in the order of the table.
    """
    looks, seen = {}, dict.fromkeys(SHADES, 0)
    for label, family in families.items():
        i, start = seen[family], list(SHADES).index(family)
        seen[family] += 1
        looks[label] = Look(family, SHADES[family][i % len(SHADES[family])], MARKERS[(start + i) % len(MARKERS)])
    return looks


def leading(scores: pd.DataFrame, looks: Mapping[str, Look]) -> list[str]:
    """Return the methods whose lines are drawn in colour, in the order of the table.

    Up to FEW methods are all in colour; otherwise only each family's method with the best mean rank over the panels.

    Args:
        scores: a row for each panel and a column for each label; higher is better, so errors are negated
            (frames.rising); NaN where a score is missing.
        looks: the look of each method, in the order of the table.
    """
    shown = [label for label in looks if label in scores]
    if len(shown) <= FEW:
        return shown
    ranks = scores[shown].rank(axis=1, ascending=False).mean()
    best = ranks.groupby([looks[label].family for label in shown]).idxmin()
    return [label for label in shown if label in set(best)]
