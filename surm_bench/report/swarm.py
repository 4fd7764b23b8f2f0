"""Points of a scatter that would cover each other, moved aside."""

import numpy as np

STEP = 1.5  # points between the places that are tried


def moved_aside(points: np.ndarray, spreads: np.ndarray, marker: float, bar: float, scale: float) -> np.ndarray:
    """How far to move each point to the right, in pixels, so that no marker covers another, and no error bar a bar.

    The first points stay where they are; each other one takes the nearest free place.

    Args:
        points: (n, 2), in pixels.
        spreads: (n,), half the length of each error bar, in pixels.
        marker: the side of the square that a marker keeps free, in points.
        bar: the least distance of two error bars beside each other, in points.
        scale: pixels a point.

    Returns:
        (n,).
    """
    shifts = np.zeros(len(points))
    for i, (x, y) in enumerate(points):
        rise = np.abs(points[:i, 1] - y)
        apart = np.where(rise < marker * scale, marker, np.where(rise < spreads[:i] + spreads[i], bar, 0)) * scale
        others = points[:i, 0] + shifts[:i]
        tried = (side * step * STEP * scale for step in range(2 * len(points) * int(marker)) for side in (1, -1))
        shifts[i] = next(shift for shift in tried if (np.abs(others - x - shift) >= apart).all())
    return shifts
