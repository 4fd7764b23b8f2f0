"""How well does each structure approximate a matrix? By its closed form and by gradients, at equal budgets.

make study-approximation: the question of the paper's Figure 1, left (arXiv 2406.17740), on four kinds of matrices.
"""

from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from surm_bench.structured import STRUCTURES
from surm_bench.studies import approximation_report
from surm_bench.studies.fitting import METHOD, fit
from surm_bench.studies.members import build, declarations, nearest, relative_error
from surm_bench.studies.reporting import about, conclude
from surm_bench.studies.targets import NOISE, TARGETS, sample


@dataclass(frozen=True)
class Settings:
    """The size of the study.

    Attributes:
        side: rows and columns of every matrix.
        budgets: multiples of 2 · side numbers; SURM spends 2 · side numbers on a layer.
        trials: the number of targets per kind; their seeds 0, 1, … also draw the starts of the fits.
        iterations: the largest number of iterations of a fit.
    """

    side: int = 64
    budgets: tuple[int, ...] = (1, 2, 4, 8)
    trials: int = 10
    iterations: int = 300


QUICK = Settings(side=16, budgets=(1, 2), trials=2, iterations=100)


def main(folder: Path, quick: bool, side: int | None = None) -> None:
    """Run the study; write measurements.json, table.{md,tex,csv}, error_against_parameters.{png,svg,pdf} into folder.

    Raises:
        UserError: side is too small.
    """
    settings = QUICK if quick else Settings()
    if side is not None:
        settings = replace(settings, side=side)
    conclude(
        folder,
        about("approximation", asdict(settings) | {"method": METHOD, "noise": NOISE}, structures=declarations()),
        {"identity": identity_errors(settings), "fits": run(settings)},
        approximation_report.error_table,
        error_against_parameters=approximation_report.draw,
    )


def run(settings: Settings) -> list[dict]:
    """Return one row per (structure, budget, target, trial)."""
    cells = [(name, b) for b, name in product(settings.budgets, STRUCTURES) if b == 1 or STRUCTURES[name].growth]
    work = list(product(cells, TARGETS, range(settings.trials)))
    return [approximate(*cell, target, trial, settings) for cell, target, trial in track(work, "fitting")]


def identity_errors(settings: Settings) -> list[dict]:
    """Return the error of the best multiple of the identity, tr(A)/side: one row per (target, trial)."""
    rows = []
    for target, trial in product(TARGETS, range(settings.trials)):
        matrix = sample(target, settings.side, trial)
        rest = matrix - matrix.trace() / settings.side * np.eye(settings.side)
        error = float(np.linalg.norm(rest) / np.linalg.norm(matrix))
        rows.append({"target": target, "trial": trial, "error": error})
    return rows


def approximate(structure: str, budget: int, target: str, trial: int, settings: Settings) -> dict:
    """Return the relative Frobenius errors of the nearest member and of a fit from the structure's start, in fp64."""
    matrix = torch.from_numpy(sample(target, settings.side, trial))
    closed = nearest(structure, matrix, budget)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial)
        member = build(structure, settings.side, budget).double()
    iterations = fit(member, matrix, settings.iterations)
    return {
        "structure": structure,
        "budget": budget,
        "trained": member.num_parameters,
        "stored": member.num_stored,
        "target": target,
        "trial": trial,
        "closed_form": None if closed is None else relative_error(closed, matrix),
        "fitted": relative_error(member, matrix),
        "iterations": iterations,
    }
