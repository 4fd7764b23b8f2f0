"""Place labels beside points without overlap: each label takes the cheapest of a ring of places around its point."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
GAPS = np.array([5, 9, 15, 23, 33, 45, 60, 78, 98])  # points between the middle of a marker and the box of its label
MARKER = 5  # points: half the side of the square that a marker keeps free
LEADER_FROM = 7  # points: a label further away gets a line to its point
PADDING = 1.5  # pixels around a label
PASSES = 4
HALO = [withStroke(linewidth=2.5, foreground="white")]


def place_labels(
    axes: Axes, x: Sequence[float], y: Sequence[float], texts: Sequence[str], colors: Sequence[str], **style
) -> None:
    """Annotate the points (x, y), in data coordinates; the limits and size of the axes must be final.

    Boxes are (left, bottom, right, top) in pixels. Each label is placed greedily, then reconsidered PASSES times.
    """
    figure = axes.figure
    renderer = figure.canvas.get_renderer()
    scale = figure.dpi / 72
    points = axes.transData.transform(np.column_stack([x, y]))
    markers = np.concatenate([points - MARKER * scale, points + MARKER * scale], axis=1)
    obstacles = np.concatenate([markers, *_line_boxes(axes)])
    notes = [
        axes.annotate(
            text, point, (0, 0), textcoords="offset points", va="bottom", color=color, path_effects=HALO, **style
        )
        for text, point, color in zip(texts, zip(x, y, strict=True), colors, strict=True)
    ]
    sizes = np.array([note.get_window_extent(renderer).size for note in notes]).reshape(-1, 2) + 2 * PADDING
    rings, fixed = [], []  # candidate boxes of each label, and their costs without the other labels
    for i, (point, size) in enumerate(zip(points, sizes, strict=True)):
        candidates, gaps = _ring(point, size, scale)
        outside = 50 * _outside(candidates, axes.bbox.extents) / scale
        rings.append(candidates)
        fixed.append(gaps + outside + _conflict(point, candidates, obstacles, np.delete(markers, i, axis=0), scale))
    boxes: list[np.ndarray | None] = [None] * len(notes)
    for _ in range(1 + PASSES):
        for i in np.argsort(-points[:, 1]):
            others = np.array([box for j, box in enumerate(boxes) if j != i and box is not None]).reshape(-1, 4)
            cost = fixed[i] + _conflict(points[i], rings[i], others, others, scale)
            boxes[i] = rings[i][np.argmin(cost)]
    for note, box, point in zip(notes, boxes, points, strict=True):
        note.set_position(tuple((box[:2] + PADDING - point) / scale))
        end = np.clip(point, box[:2], box[2:])
        if np.linalg.norm(end - point) > LEADER_FROM * scale:
            ends = axes.transData.inverted().transform([point, end])
            axes.plot(*ends.T, color=note.get_color(), linewidth=0.6, alpha=0.6, zorder=1.5)


def _ring(point: np.ndarray, size: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return candidate boxes around a point, (n, 4), and their distances in points, (n,)."""
    gaps, angles = (grid.ravel() for grid in np.meshgrid(GAPS, ANGLES))
    direction = np.column_stack([np.cos(angles), np.sin(angles)])
    middle = point + direction * (gaps[:, None] * scale + size / 2)
    return np.concatenate([middle - size / 2, middle + size / 2], axis=1), gaps


def _line_boxes(axes: Axes) -> list[np.ndarray]:
    """Return small boxes around existing drawings: the error bars, and points along the lines."""
    bars = [segment for bars in axes.collections for segment in bars.get_segments()]
    corners = np.array(
        [np.concatenate([ends.min(axis=0), ends.max(axis=0)]) for ends in map(axes.transData.transform, bars)]
    )
    boxes = [corners]
    for line in axes.lines:
        if len(line.get_xydata()) > 1:
            ends = line.get_transform().transform(line.get_xydata())
            share = np.linspace(0, len(ends) - 1, 40 * len(ends))
            way = np.column_stack([np.interp(share, np.arange(len(ends)), coordinate) for coordinate in ends.T])
            boxes.append(np.concatenate([way, way], axis=1))
    return [box + [-2, -2, 2, 2] for box in boxes]


def _conflict(
    point: np.ndarray, candidates: np.ndarray, covered: np.ndarray, crossed: np.ndarray, scale: float
) -> np.ndarray:
    """Return the cost of each candidate, (n,): for what the box covers and for what its leader line crosses."""
    return 4 * _overlap(candidates, covered) / scale + 15 * _crossed(point, candidates, crossed)


def _overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return, for each box (n, 4), the summed square root of its common area with each other box (m, 4); shape (n,)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.sqrt(np.clip(high - low, 0, None).prod(axis=-1)).sum(axis=1)


def _outside(boxes: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Return how far each box sticks out of the frame, in pixels."""
    low, high = frame[:2] - boxes[:, :2], boxes[:, 2:] - frame[2:]
    return np.clip(low, 0, None).sum(axis=1) + np.clip(high, 0, None).sum(axis=1)


def _crossed(point: np.ndarray, boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Count the other boxes that the straight line from the point to each box crosses, by sampling the line."""
    if not len(others):
        return np.zeros(len(boxes))
    ends = np.clip(point, boxes[:, :2], boxes[:, 2:])
    way = point + np.linspace(0, 1, 20)[:, None, None] * (ends - point)  # (20, n, 2)
    inside = (way[:, :, None] >= others[None, None, :, :2]) & (way[:, :, None] <= others[None, None, :, 2:])
    return inside.all(axis=-1).any(axis=0).sum(axis=1)
