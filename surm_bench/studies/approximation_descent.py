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

from surm_bench import environment
from surm_bench.report.console import print_table
from surm_bench.structured import STRUCTURES, StructuredMatrix
from surm_bench.studies import approximation_descent_report, measurements
from surm_bench.studies.members import declarations, relative_error

NOISE = 0.05
RANK = 4  # of G·Hᵀ
MEMBERS = {  # label -> structure and its options
    **{f"W(G, H), r = {r}": ("ldr", {"r": r}) for r in (1, 2, 4, 20)},
    "circulant": ("circulant", {}),
    "Toeplitz": ("toeplitz", {}),
}


@dataclass(frozen=True)
class Settings:
    """What is approximated, and for how long.

    Attributes:
        side: rows and columns.
        trials: targets drawn of each kind, by the seeds 0, 1, …, which also draw the starts.
        steps: of Adam.
        rate: of Adam, falling to zero by a cosine.
        every: steps between two errors that are kept.
    """

    side: int = 100
    trials: int = 3
    steps: int = 400
    rate: float = 0.03
    every: int = 20


QUICK = Settings(side=16, trials=1, steps=20, every=10)


def gaussian(rng: Generator, side: int) -> np.ndarray:
    """Independent standard normal entries."""
    return rng.standard_normal((side, side))


def near_low_rank(rng: Generator, side: int) -> np.ndarray:
    """G·Hᵀ + NOISE·R, all standard normal, G and H of RANK columns."""
    g, h = rng.standard_normal((2, side, RANK))
    return g @ h.T + NOISE * rng.standard_normal((side, side))


def sines(rng: Generator, side: int) -> np.ndarray:
    """Row i is sin(k·t_i), k = 1 … side, t_i standard normal."""
    return np.sin(np.outer(rng.standard_normal(side), 1 + np.arange(side)))


def noisy_sines(rng: Generator, side: int) -> np.ndarray:
    """The same plus NOISE times a standard normal matrix."""
    return sines(rng, side) + NOISE * rng.standard_normal((side, side))


TARGETS: dict[str, Callable[[Generator, int], np.ndarray]] = {
    "Gaussian": gaussian,
    "near low rank": near_low_rank,
    "sines": sines,
    "sines with noise": noisy_sines,
}


def descend(member: StructuredMatrix, target: torch.Tensor, settings: Settings) -> list[float]:
    """Minimise the mean squared error over the parameters of member, in place; the relative errors
    ‖member − target‖ / ‖target‖ before the first step, after each ``every`` steps, and after the last."""
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
    """One member and one target, by its row of the records."""
    structure, options = MEMBERS[label]
    matrix = torch.from_numpy(TARGETS[target](np.random.default_rng(trial), settings.side)).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial)
        member = StructuredMatrix(STRUCTURES[structure](settings.side, settings.side, **options))
    cell = {"target": target, "member": label, "trial": trial, "stored": member.num_stored}
    return cell | {"errors": descend(member, matrix, settings)}


def main(folder: Path, quick: bool) -> None:
    """Measure anew; write measurements.json, table.{md,tex,csv}, error_along_training.{png,svg,pdf} into folder."""
    settings = QUICK if quick else Settings()
    work = list(product(TARGETS, MEMBERS, range(settings.trials)))
    rows = [approximate(label, target, trial, settings) for target, label, trial in track(work, "descending")]
    about = {
        "study": "approximation_descent",
        "settings": asdict(settings) | {"noise": NOISE, "rank": RANK},
        "environment": environment.describe(),
        "structures": declarations(),
    }
    measurements.write(folder / "measurements.json", about, descents=rows)
    print_table(approximation_descent_report.write(folder))
