"""The runs of both pinwheel studies: a network trained on a seed's points, its row, and the choice of the rate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surm_bench.studies.pinwheel_data import TEST, TRAIN, grid, sample
from surm_bench.studies.pinwheel_network import Network, classify, matrix_counts, train

Start = Callable[[int], Network]  # seed -> the network before training


@dataclass(frozen=True)
class Settings:
    """The data and the training of a study.

    Attributes:
        train_per_arm: points of each class; a seed draws the points and the network's start.
        test_per_arm: further points per class, to measure accuracy.
        seeds: the reported seeds.
        tuning_seeds: the seeds that choose the learning rate by the best mean accuracy; on a tie, the smaller rate.
        rates: the grid of learning rates, the same for every method.
        steps: steps of Adam, each on all points, that is epochs.
        points_of_curve: recorded losses per run.
        resolution: rows and columns of a decision map.
    """

    train_per_arm: int = 100
    test_per_arm: int = 400
    seeds: tuple[int, ...] = tuple(range(10))
    tuning_seeds: tuple[int, ...] = (1000, 1001, 1002)
    rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    steps: int = 500
    points_of_curve: int = 50
    resolution: int = 120


def add_runs(tables: dict[str, list[dict]], cell: dict[str, str], start: Start, settings: Settings) -> list[Network]:
    """Choose the learning rate and train a network with each seed; return the networks.

    Rows of the tables "tuning" (per rate), "runs" (per seed) and "regions" (the decision map of the first seed) are
    added, each with the keys of cell.
    """
    tuning = tune(start, settings)
    rate = choose(tuning)
    networks = [start(seed) for seed in settings.seeds]
    runs = [learn(network, seed, rate, settings) for network, seed in zip(networks, settings.seeds, strict=True)]
    region = {"seed": settings.seeds[0], "rows": decision_map(networks[0], settings.resolution)}
    for name, rows in {"tuning": tuning, "runs": runs, "regions": [region]}.items():
        tables[name] += [cell | row for row in rows]
    return networks


def tune(start: Start, settings: Settings) -> list[dict]:
    """Return the accuracies of the tuning seeds, one row per learning rate."""
    return [
        {
            "rate": rate,
            "accuracies": [learn(start(seed), seed, rate, settings)["accuracy"] for seed in settings.tuning_seeds],
        }
        for rate in settings.rates
    ]


def choose(tuning: list[dict]) -> float:
    """Return the learning rate with the best mean accuracy; on a tie, the smallest rate."""
    return max(tuning, key=lambda row: (round(sum(row["accuracies"]), 9), -row["rate"]))["rate"]


def learn(network: Network, seed: int, rate: float, settings: Settings) -> dict[str, Any]:
    """Train a network in place on the seed's points; return its row of the records."""
    x, y = points([seed, TRAIN], settings.train_per_arm, network.classes)
    losses = train(network, x, y, rate, settings.steps)
    kept = np.linspace(0, settings.steps - 1, settings.points_of_curve).astype(int).tolist() if losses else []
    trained, stored = matrix_counts(network)
    return {
        "seed": seed,
        "rate": rate if losses else None,
        "trained": trained,
        "stored": stored,
        "accuracy": accuracy(network, [seed, TEST], settings.test_per_arm),
        "steps": kept,
        "losses": [losses[step] for step in kept],
    }


def points(seed: Sequence[int], per_arm: int, arms: int, turn: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return the points of :func:`pinwheel_data.sample`, (arms · per_arm, 2), and their classes as tensors."""
    x, y = sample(seed, per_arm, arms, turn)
    return torch.from_numpy(x), torch.from_numpy(y)


def accuracy(network: Network, seed: Sequence[int], per_arm: int, turn: float = 0.0) -> float:
    x, y = points(seed, per_arm, network.classes, turn)
    return (classify(network, x) == y).double().mean().item()


def decision_map(network: Network, resolution: int) -> list[str]:
    """Return the class of every point of ``pinwheel_data.grid``, one digit per point, one string per row."""
    classes = classify(network, torch.from_numpy(grid(resolution))).view(resolution, resolution)
    return ["".join(map(str, row)) for row in classes.tolist()]
