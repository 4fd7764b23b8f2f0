"""Score against a cost for the page: where each mark stands so that none covers another, the front, and the axis."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from surm_bench.metrics import Metric
from surm_bench.report.pareto import log_places, pareto_front
from surm_bench.report.swarm import moved_aside

ENDS = ("low", "mean", "high")
COUNTED = ("parameters", "stored_parameters")  # on a log axis
MEASURED = ("step_ms", "memory", "train_seconds")  # cells have an interval over their runs
WIDTH, HEIGHT = 500, 330  # of a plot, about, in pixels
MARKER, BAR = 12, 4  # pixels that a mark keeps free, and that stand between two error bars


def tradeoff(cells: Sequence[dict], cost: str, measure: Metric) -> dict[str, Any] | None:
    """Return how to draw the scores of a column against a cost; None without a cell that has both.

    All methods are placed, so that marks stay where they are when the reader filters them.

    Returns:
        ``x``: the place of each method. ``front``: method, x and y of the points on the Pareto front, by rising cost.
        ``axis``: Plotly's type, range and ticks.
    """
    shown = [cell for cell in cells if cell["score"]["mean"] is not None and cost_of(cell, cost) is not None]
    if not shown:
        return None
    costs = np.array([cost_of(cell, cost) for cell in shown], float)
    low, scores, high = (measure.unit * np.array([_end(cell["score"], name) for cell in shown]) for name in ENDS)
    places, axis = (_log_axis if cost in COUNTED else _linear_axis)(costs)
    front = pareto_front(costs, scores, measure)
    order = sorted(range(len(shown)), key=lambda i: (i not in front, -scores[i]))
    across = WIDTH / np.ptp(axis["range"])  # pixels per unit
    up = HEIGHT / (1.1 * (high.max() - low.min() or 1))
    pixels = np.column_stack([across * places, up * scores])
    aside = np.zeros(len(shown))
    aside[order] = moved_aside(pixels[order], up * (high - scores)[order], MARKER, BAR, scale=1) / across
    x = [10**place if cost in COUNTED else place for place in places]
    drawn = [10**place if cost in COUNTED else place for place in places + aside]
    return {
        "x": {cell["method"]: place for cell, place in zip(shown, drawn, strict=True)},
        "front": [{"method": shown[i]["method"], "x": x[i], "y": scores[i]} for i in front],
        "axis": axis,
    }


def cost_of(cell: dict, cost: str) -> float | None:
    """Return a cost of a cell: a count, or the mean of what its runs measured; None where it is unknown."""
    return cell[cost] if cost in COUNTED else cell[cost]["mean"]


def _end(score: dict, name: str) -> float:
    return score["mean"] if score[name] is None else score[name]


def _linear_axis(costs: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the places of the costs in the unit of the axis, and the axis."""
    margin = 0.08 * (np.ptp(costs) or 1)
    return costs, {"type": "linear", "range": [costs.min() - margin, costs.max() + margin]}


def _log_axis(costs: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the places of the costs, as logarithms, and the axis, with a tick for costs of zero."""
    places = np.log10(log_places(costs))
    some = places[costs > 0] if costs.any() else np.zeros(1)
    span = max(np.ptp(some), 1)
    ends = [places.min() - 0.1 * span, some.max() + 0.12 * span]
    ticks = {10.0**decade: f"{10**decade:,}" for decade in range(14) if some.min() - 0.3 < decade < ends[1]}
    if not costs.all():
        ticks = {10 ** places.min(): "0"} | ticks
    return places, {"type": "log", "range": ends, "tickvals": [*ticks], "ticktext": [*ticks.values()]}
