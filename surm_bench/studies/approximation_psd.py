"""Figure 1, left, of the paper (arXiv 2406.17740), in its setting: a PSD matrix of 50×50 from 50 numbers.

surm-bench study approximation_psd: v·vᵀ and A⊗Aᵀ by gradient descent, circulant and symmetric Toeplitz in closed form.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from surm_bench.studies import approximation_psd_report
from surm_bench.studies.reporting import about, conclude

SIDE = 50
FACTOR = (10, 5)  # shape of A, so that A⊗Aᵀ is 50×50 and A has 50 numbers
RATE = 0.1
START = 0.1  # standard deviation of v and A


@dataclass(frozen=True)
class Settings:
    """The number of trials and the number of gradient steps; a trial's seed 0, 1, … draws its target and starts."""

    trials: int = 10
    steps: int = 5000


QUICK = Settings(trials=2, steps=500)


def gram(rng: np.random.Generator) -> np.ndarray:
    """Return X·Xᵀ, where X is standard normal with rows scaled to length 1: PSD, with a diagonal of ones."""
    x = _unit_rows(rng.standard_normal((SIDE, SIDE)))
    return x @ x.T


def unit_rows(rng: np.random.Generator) -> np.ndarray:
    """Return X·Xᵀ for a standard normal X, each row then divided by its length: no longer symmetric."""
    x = rng.standard_normal((SIDE, SIDE))
    return _unit_rows(x @ x.T)


# "L2-normalised rows" can mean either of these two.
TARGETS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "X·Xᵀ, X with unit rows": gram,
    "PSD, then unit rows": unit_rows,
}


def mean_along(matrix: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the nearest matrix that is constant in each group of entries: each entry is the mean of its group.

    Args:
        matrix: any shape.
        groups: the group of each entry, numbered from 0; the same shape as matrix.
    """
    sums, sizes = np.bincount(groups.ravel(), matrix.ravel()), np.bincount(groups.ravel())
    return (sums / sizes)[groups]


def descend(build: Callable[[Tensor], Tensor], start: Tensor, target: Tensor, steps: int) -> Tensor:
    """Return build(x) after plain gradient descent from x = start, with learning rate RATE.

    The loss is ‖build(x) − target‖² / rows; the paper does not state its scale of the loss.
    """
    x = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([x], lr=RATE)
    for _ in range(steps):
        loss = (build(x) - target).square().sum() / len(target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return build(x).detach()


def rank_one(v: Tensor) -> Tensor:
    return torch.outer(v, v)


def kronecker(a: Tensor) -> Tensor:
    return torch.kron(a, a.T.contiguous())


def approximations(matrix: np.ndarray, trial: int, steps: int) -> dict[str, np.ndarray]:
    """Return each structure's approximation of matrix with SIDE numbers, and the multiple of the identity, with one."""
    difference = np.subtract.outer(np.arange(SIDE), np.arange(SIDE))
    target, generator = torch.from_numpy(matrix), torch.Generator().manual_seed(trial)
    starts = [START * torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((SIDE,), FACTOR)]
    return {
        "multiple of the identity": matrix.trace() / SIDE * np.eye(SIDE),
        "low rank v·vᵀ": descend(rank_one, starts[0], target, steps).numpy(),
        "Kronecker A⊗Aᵀ": descend(kronecker, starts[1], target, steps).numpy(),
        "circulant": mean_along(matrix, difference % SIDE),
        "symmetric Toeplitz": mean_along(matrix, abs(difference)),
    }


def run(settings: Settings) -> list[dict]:
    """Return one row per (target, trial, structure) with ‖M̂ − M‖ and ‖M‖."""
    rows = []
    for name, trial in track(list(product(TARGETS, range(settings.trials))), "approximating"):
        matrix = TARGETS[name](np.random.default_rng(trial))
        for structure, found in approximations(matrix, trial, settings.steps).items():
            error = float(np.linalg.norm(found - matrix))
            cell = {"target": name, "trial": trial, "structure": structure}
            rows.append(cell | {"error": error, "norm": float(np.linalg.norm(matrix))})
    return rows


def main(folder: Path, quick: bool) -> None:
    """Run the study; write measurements.json, table.{md,tex,csv}, errors.{png,svg,pdf} into folder."""
    settings = QUICK if quick else Settings()
    conclude(
        folder,
        about("approximation_psd", asdict(settings) | {"side": SIDE, "factor": FACTOR, "rate": RATE, "start": START}),
        {"errors": run(settings)},
        approximation_psd_report.error_table,
        errors=approximation_psd_report.draw,
    )


def _unit_rows(matrix: np.ndarray) -> np.ndarray:
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
