"""Move the points of a scatter plot aside where they would cover each other."""

import numpy as np

STEP = 1.5  # distance between the tried places, in points


def moved_aside(points: np.ndarray, spreads: np.ndarray, marker: float, bar: float, scale: float) -> np.ndarray:
    """Return how far to move each point to the right, in pixels, so that no two markers and no two error bars overlap.

    The first points stay in place; each later point takes the nearest free place.

    Args:
        points: (n, 2), in pixels.
        spreads: (n,), half the length of each error bar, in pixels.
        marker: the side of the square that a marker keeps free, in points.
        bar: the least distance between two error bars side by side, in points.
        scale: pixels per point.

    Returns:
        The shifts, (n,).
    """
    shifts = np.zeros(len(points))
    for i, (x, y) in enumerate(points):
        rise = np.abs(points[:i, 1] - y)
        apart = np.where(rise < marker * scale, marker, np.where(rise < spreads[:i] + spreads[i], bar, 0)) * scale
        others = points[:i, 0] + shifts[:i]
        tried = (side * step * STEP * scale for step in range(2 * len(points) * int(marker)) for side in (1, -1))
        shifts[i] = next(shift for shift in tried if (np.abs(others - x - shift) >= apart).all())
    return shifts
