"""Square, seeded target matrices for approximation; together they cover the structures' strengths. Without torch."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from surm_bench.errors import UserError

SMALLEST = 16
NOISE = 0.1  # of the near-low-rank target: norm of the noise divided by the norm of the low-rank part


def sample(name: str, side: int, trial: int) -> np.ndarray:
    """Return the target with this name in TARGETS, (side, side), scaled to entries of root mean square 1.

    Raises:
        UserError: side is below SMALLEST, where rank and bandwidth would be 0.
    """
    if side < SMALLEST:
        raise UserError(f"side={side} is not possible: give at least {SMALLEST}")
    matrix = TARGETS[name](np.random.default_rng(trial), side)
    return matrix * side / np.linalg.norm(matrix)


def extent(side: int) -> int:
    """Return the rank of the near-low-rank target and the bandwidth of the banded target: a sixteenth of the side."""
    return side // SMALLEST


def random_psd(rng: Generator, side: int) -> np.ndarray:
    """Return G·Gᵀ, G standard normal (Wishart): nearly half its squared norm lies in a multiple of the identity."""
    factor = rng.standard_normal((side, side))
    return factor @ factor.T


def gaussian(rng: Generator, side: int) -> np.ndarray:
    """Return independent standard normal entries, without any structure."""
    return rng.standard_normal((side, side))


def near_low_rank(rng: Generator, side: int) -> np.ndarray:
    """Return a product of two normal factors of rank ``extent(side)``, plus normal noise of NOISE times its norm."""
    rank = extent(side)
    signal = rng.standard_normal((side, rank)) @ rng.standard_normal((rank, side))
    noise = rng.standard_normal((side, side))
    return signal + NOISE * np.linalg.norm(signal) / np.linalg.norm(noise) * noise


def banded(rng: Generator, side: int) -> np.ndarray:
    """Return independent standard normal entries where |i − j| ≤ ``extent(side)``, and zero elsewhere."""
    width = extent(side)
    return np.triu(np.tril(rng.standard_normal((side, side)), width), -width)


TARGETS: dict[str, Callable[[Generator, int], np.ndarray]] = {
    "random PSD": random_psd,
    "random Gaussian": gaussian,
    "near low rank": near_low_rank,
    "banded": banded,
}
