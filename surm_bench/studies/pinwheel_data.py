"""The pinwheel: clouds of points on bent arms, one class per arm. Without torch."""

from collections.abc import Sequence

import numpy as np

ARMS = 7
RADIAL_STD = 0.3  # along an arm, which starts at radius 1
TANGENTIAL_STD = 0.1
BEND = 0.5  # an arm's point at radius r is turned by BEND · exp(r)
HALF_A_SECTOR = np.pi / ARMS
TRAIN, TEST, SOURCE_TRAIN, SOURCE_TEST = range(4)  # purposes of points: the same seed draws different points for each
REACH = 2.3  # half the side of a decision map


def sample(seed: Sequence[int], per_arm: int, arms: int = ARMS, turn: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return points (arms · per_arm, 2) and classes, arm after arm: data of Johnson et al. (2016), arXiv 1603.06277.

    Args:
        seed: any numbers, the seed of NumPy's generator.
        per_arm: points of each class.
        arms: the number of arms.
        turn: the angle by which the whole wheel is turned.
    """
    rng = np.random.default_rng(seed)
    classes = np.repeat(np.arange(arms), per_arm)
    radial = 1 + RADIAL_STD * rng.standard_normal(len(classes))
    tangential = TANGENTIAL_STD * rng.standard_normal(len(classes))
    angle = turn + 2 * np.pi * classes / arms + BEND * np.exp(radial)
    cosine, sine = np.cos(angle), np.sin(angle)
    points = np.stack([radial * cosine - tangential * sine, radial * sine + tangential * cosine], axis=1)
    return points.astype(np.float32), classes


def grid(resolution: int) -> np.ndarray:
    """Return the midpoints of a decision map's cells, (resolution², 2), row after row from below."""
    middles = REACH * (2 * np.arange(resolution) + 1 - resolution) / resolution
    x, y = np.meshgrid(middles, middles)
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
