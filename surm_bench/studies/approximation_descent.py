"""Figure 5 of the paper (arXiv 2406.17740): the error of W(G, H), circulant and Toeplitz matrices along training.

surm-bench study approximation_descent: W(G, H) is the structure ldr, Σₖ C(gₖ)·S(hₖ), k = 1 … r.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from rich.progress import track

from surm_bench.structured import STRUCTURES, StructuredMatrix
from surm_bench.studies import approximation_descent_report
from surm_bench.studies.members import declarations, relative_error
from surm_bench.studies.reporting import about, conclude

NOISE = 0.05
RANK = 4  # rank of G·Hᵀ
MEMBERS = {  # label -> structure and its options
    **{f"W(G, H), r = {r}": ("ldr", {"r": r}) for r in (1, 2, 4, 20)},
    "circulant": ("circulant", {}),
    "Toeplitz": ("toeplitz", {}),
}


@dataclass(frozen=True)
class Settings:
    """The size and length of the study.

    Attributes:
        side: rows and columns.
        trials: the number of targets per kind; their seeds 0, 1, … also draw the starts.
        steps: steps of Adam.
        rate: Adam's learning rate, which falls to zero by a cosine.
        every: steps between two recorded errors.
    """

    side: int = 100
    trials: int = 3
    steps: int = 400
    rate: float = 0.03
    every: int = 20


QUICK = Settings(side=16, trials=2, steps=20, every=10)


def gaussian(rng: Generator, side: int) -> np.ndarray:
    """Return independent standard normal entries."""
    return rng.standard_normal((side, side))


def near_low_rank(rng: Generator, side: int) -> np.ndarray:
    """Return G·Hᵀ + NOISE·R; G, H and R are standard normal, G and H have RANK columns."""
    g, h = rng.standard_normal((2, side, RANK))
    return g @ h.T + NOISE * rng.standard_normal((side, side))


def sines(rng: Generator, side: int) -> np.ndarray:
    """Return the matrix whose row i is sin(k·t_i), k = 1 … side, with standard normal t_i."""
    return np.sin(np.outer(rng.standard_normal(side), 1 + np.arange(side)))


def noisy_sines(rng: Generator, side: int) -> np.ndarray:
    """Return a matrix of sines plus NOISE times a standard normal matrix."""
    return sines(rng, side) + NOISE * rng.standard_normal((side, side))


TARGETS: dict[str, Callable[[Generator, int], np.ndarray]] = {
    "Gaussian": gaussian,
    "near low rank": near_low_rank,
    "sines": sines,
    "sines with noise": noisy_sines,
}


def descend(member: StructuredMatrix, target: torch.Tensor, settings: Settings) -> list[float]:
    """Minimise the mean squared error over the parameters of member, in place.

    Returns:
        The relative errors ‖member − target‖ / ‖target‖ before the first step, after each ``every`` steps, and after
        the last step.
    """
    optimizer = torch.optim.Adam(member.parameters(), lr=settings.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    errors = []
    for step in range(settings.steps):
        if step % settings.every == 0:
            errors.append(relative_error(member, target))
        loss = (member.dense() - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return [*errors, relative_error(member, target)]


def approximate(label: str, target: str, trial: int, settings: Settings) -> dict:
    """Approximate one target with one member and return the row of the records."""
    structure, options = MEMBERS[label]
    matrix = torch.from_numpy(TARGETS[target](np.random.default_rng(trial), settings.side)).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial)
        member = StructuredMatrix(STRUCTURES[structure](settings.side, settings.side, **options))
    cell = {"target": target, "member": label, "trial": trial, "stored": member.num_stored}
    return cell | {"errors": descend(member, matrix, settings)}


def main(folder: Path, quick: bool) -> None:
    """Run the study; write measurements.json, table.{md,tex,csv}, error_along_training.{png,svg,pdf} into folder."""
    settings = QUICK if quick else Settings()
    work = list(product(TARGETS, MEMBERS, range(settings.trials)))
    rows = [approximate(label, target, trial, settings) for target, label, trial in track(work, "descending")]
    conclude(
        folder,
        about("approximation_descent", asdict(settings) | {"noise": NOISE, "rank": RANK}, structures=declarations()),
        {"descents": rows},
        approximation_descent_report.error_table,
        error_along_training=approximation_descent_report.draw,
    )
