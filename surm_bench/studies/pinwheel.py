"""What can a small network learn with one structured matrix? LoRA, circulant and Toeplitz on a pinwheel of points.

make study-pinwheel: the toy problem of the paper (arXiv 2406.17740), from scratch and as an adaptation.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from surm_bench.report.console import print_table
from surm_bench.studies import measurements, pinwheel_report
from surm_bench.studies.members import declarations
from surm_bench.studies.pinwheel_data import ARMS, HALF_A_SECTOR, SOURCE_TEST, SOURCE_TRAIN, TEST, TRAIN, draw, grid
from surm_bench.studies.pinwheel_network import METHODS, Network, build, classify, matrix_counts, train
from surm_bench.system import environment

SCRATCH, ADAPTED = "from scratch", "adapted"
SOURCE_RATE = 1e-2  # learning rate of the pretraining


@dataclass(frozen=True)
class Settings:
    """The data and the training of the study.

    Attributes:
        train_per_arm: points of each class; a seed draws the points, the network's start and its pretraining data.
        test_per_arm: further points per class, to measure accuracy.
        seeds: the reported seeds.
        tuning_seeds: the seeds that choose the learning rate by the best mean accuracy; on a tie, the smaller rate.
        rates: the grid of learning rates, the same for every method.
        steps: steps of Adam, each on all points.
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


QUICK = Settings(
    train_per_arm=20,
    test_per_arm=20,
    seeds=(0, 1),
    tuning_seeds=(1000,),
    rates=(0.01, 0.03),
    steps=40,
    points_of_curve=10,
    resolution=20,
)


def main(folder: Path, quick: bool) -> None:
    """Run the study; write measurements.json, table.{md,tex,csv}, decision_regions and loss_curves into folder."""
    settings = QUICK if quick else Settings()
    about = {
        "study": "pinwheel",
        "settings": asdict(settings),
        "environment": environment.describe(),
        "structures": declarations(),
    }
    measurements.write(folder / "measurements.json", about, **run(settings))
    print_table(pinwheel_report.write(folder))


def run(settings: Settings) -> dict[str, list[dict]]:
    """Return the tables of the records: one row per pretraining, tried rate, run, and decision map (first seed)."""
    tables: dict[str, list[dict]] = {"pretraining": [], "tuning": [], "runs": [], "regions": []}
    pretrained = {}
    for seed in track([*settings.seeds, *settings.tuning_seeds], "pretraining"):
        pretrained[seed], accuracy = pretrain(seed, settings)
        tables["pretraining"].append({"seed": seed, "accuracy": accuracy})
    for setting, method in track(list(product((SCRATCH, ADAPTED), METHODS)), "training"):
        bases = pretrained if setting == ADAPTED else dict.fromkeys(pretrained)
        cell = {"setting": setting, "method": method}
        tuning = tune(method, bases, settings)
        rate = choose(tuning)
        tables["tuning"] += [cell | row for row in tuning]
        for seed in settings.seeds:
            network, row = learn(method, seed, rate, bases[seed], settings)
            tables["runs"].append(cell | row)
            if seed == settings.seeds[0]:
                tables["regions"].append(cell | {"seed": seed, "rows": decision_map(network, settings.resolution)})
    return tables


def pretrain(seed: int, settings: Settings) -> tuple[Network, float]:
    """Train an ordinary network on the wheel turned by half a sector; return it and its accuracy there."""
    network = start("dense", seed, None)
    source = (settings.train_per_arm, HALF_A_SECTOR)
    train(network, *points([seed, SOURCE_TRAIN], *source), SOURCE_RATE, settings.steps)
    return network, accuracy(network, [seed, SOURCE_TEST], settings.test_per_arm, HALF_A_SECTOR)


def tune(method: str, bases: dict[int, Network | None], settings: Settings) -> list[dict]:
    """Return the accuracies of the tuning seeds, one row per learning rate."""
    return [
        {
            "rate": rate,
            "accuracies": [learn(method, s, rate, bases[s], settings)[1]["accuracy"] for s in settings.tuning_seeds],
        }
        for rate in settings.rates
    ]


def choose(tuning: list[dict]) -> float:
    """Return the learning rate with the best mean accuracy; on a tie, the smallest rate."""
    return max(tuning, key=lambda row: (round(sum(row["accuracies"]), 9), -row["rate"]))["rate"]


def learn(
    method: str, seed: int, rate: float, base: Network | None, settings: Settings
) -> tuple[Network, dict[str, Any]]:
    """Train one network, from scratch if there is no base; return it and its row of the records."""
    network = start(method, seed, base)
    losses = train(network, *points([seed, TRAIN], settings.train_per_arm), rate, settings.steps)
    kept = np.linspace(0, settings.steps - 1, settings.points_of_curve).astype(int).tolist() if losses else []
    trained, stored = matrix_counts(network)
    return network, {
        "seed": seed,
        "rate": rate if losses else None,
        "trained": trained,
        "stored": stored,
        "accuracy": accuracy(network, [seed, TEST], settings.test_per_arm),
        "steps": kept,
        "losses": [losses[step] for step in kept],
    }


def start(method: str, seed: int, base: Network | None) -> Network:
    """Return the network before training, drawn by the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(method, ARMS, base)


def points(seed: Sequence[int], per_arm: int, turn: float = 0.0) -> tuple[Tensor, Tensor]:
    x, y = draw(seed, per_arm, turn)
    return torch.from_numpy(x), torch.from_numpy(y)


def accuracy(network: Network, seed: Sequence[int], per_arm: int, turn: float = 0.0) -> float:
    x, y = points(seed, per_arm, turn)
    return (classify(network, x) == y).double().mean().item()


def decision_map(network: Network, resolution: int) -> list[str]:
    """Return the class of every point of ``pinwheel_data.grid``, one digit per point, one string per row."""
    classes = classify(network, torch.from_numpy(grid(resolution))).view(resolution, resolution)
    return ["".join(map(str, row)) for row in classes.tolist()]
