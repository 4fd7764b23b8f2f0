"""The pinwheel in the paper's setting (arXiv 2406.17740, Figures 4 and 9, Table 8): five arms, a matrix of 64×64.

surm-bench study pinwheel_paper: with a frozen or trained embedding; the trained networks are compared by CKA.
"""

from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn

from surm_bench.report.console import print_table
from surm_bench.structured import STRUCTURES, StructuredMatrix
from surm_bench.studies import measurements, pinwheel_paper_report
from surm_bench.studies.members import declarations
from surm_bench.studies.pinwheel import choose, decision_map
from surm_bench.studies.pinwheel_data import TEST, TRAIN, draw
from surm_bench.studies.pinwheel_network import STRUCTURED, Network, classify, matrix_counts, train
from surm_bench.studies.similarity import linear_cka
from surm_bench.system import environment

ARMS, WIDTH = 5, 64
FROZEN, TRAINED = "embedding frozen", "embedding trained"
METHODS = (*STRUCTURED, "dense")  # low_rank is LoRA r=1, dense the fully trained matrix


@dataclass(frozen=True)
class Settings:
    """The data and the training of the study.

    Attributes:
        train_per_arm: points of each class; a seed draws the points and the network's start, the same for all methods.
        test_per_arm: further points per class, to measure accuracy and CKA.
        seeds: the reported seeds.
        tuning_seeds: the seeds that choose the learning rate by the best mean accuracy; on a tie, the smaller rate.
        rates: the grid of learning rates, the same for every method.
        steps: steps of Adam, each on all points, that is epochs.
        points_of_curve: recorded losses per run.
        resolution: rows and columns of a decision map.
    """

    train_per_arm: int = 60
    test_per_arm: int = 400
    seeds: tuple[int, ...] = (0, 1, 2)
    tuning_seeds: tuple[int, ...] = (1000,)
    rates: tuple[float, ...] = (0.001, 0.003, 0.01)
    steps: int = 2000
    points_of_curve: int = 50
    resolution: int = 120


QUICK = Settings(test_per_arm=20, seeds=(0, 1), rates=(0.01,), steps=20, points_of_curve=10, resolution=20)


def build(method: str, embedding: str, seed: int) -> Network:
    """Return the network before training; its requires_grad flags mark the trained parameters.

    All methods of a seed start from the same embedding and head. A structured hidden matrix is trained in place of the
    dense one, W₀ = 0.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(ARMS, width=WIDTH)
        if method in STRUCTURED:
            network.delta = StructuredMatrix(STRUCTURES[method](WIDTH, WIDTH))
            nn.init.zeros_(network.hidden.weight).requires_grad_(False)
    network.input.requires_grad_(embedding == TRAINED)
    return network


def points(seed: int, purpose: int, per_arm: int) -> tuple[Tensor, Tensor]:
    x, y = draw([seed, purpose], per_arm, arms=ARMS)
    return torch.from_numpy(x), torch.from_numpy(y)


def learn(method: str, embedding: str, seed: int, rate: float, settings: Settings) -> tuple[Network, dict[str, Any]]:
    """Train one network; return it and its row of the records."""
    network = build(method, embedding, seed)
    losses = train(network, *points(seed, TRAIN, settings.train_per_arm), rate, settings.steps)
    kept = np.linspace(0, settings.steps - 1, settings.points_of_curve).astype(int).tolist()
    x, y = points(seed, TEST, settings.test_per_arm)
    trained, stored = matrix_counts(network)
    return network, {
        "seed": seed,
        "rate": rate,
        "trained": trained,
        "stored": stored,
        "accuracy": (classify(network, x) == y).double().mean().item(),
        "steps": kept,
        "losses": [losses[step] for step in kept],
    }


def tune(method: str, embedding: str, settings: Settings) -> list[dict]:
    """Return the accuracies of the tuning seeds, one row per learning rate."""
    return [
        {
            "rate": rate,
            "accuracies": [learn(method, embedding, s, rate, settings)[1]["accuracy"] for s in settings.tuning_seeds],
        }
        for rate in settings.rates
    ]


def similarity(one: Network, full: Network, x: Tensor) -> dict[str, float]:
    """Return the CKA of the head's inputs for the points x, and of the hidden matrices."""
    with torch.no_grad():
        return {
            "cka_features": linear_cka(one.features(x), full.features(x)),
            "cka_weights": linear_cka(one.matrix(), full.matrix()),
        }


def similarities(networks: dict[tuple[str, int], Network], embedding: str, settings: Settings) -> list[dict]:
    """Compare every network with the fully trained network of its seed.

    Two references: the fully trained network of the next seed, and the dense network before training.
    """
    rows, seeds = [], settings.seeds
    for place, seed in enumerate(seeds):
        x, _ = points(seed, TEST, settings.test_per_arm)
        full = networks["dense", seed]
        others = {method: networks[method, seed] for method in STRUCTURED}
        others["dense, another seed"] = networks["dense", seeds[(place + 1) % len(seeds)]]
        others["dense, not trained"] = build("dense", embedding, seed)
        for name, other in others.items():
            rows.append({"setting": embedding, "method": name, "seed": seed} | similarity(other, full, x))
    return rows


def run(settings: Settings) -> dict[str, list[dict]]:
    """Return the tables of the records: one row per tried rate, run, decision map (first seed only), and comparison."""
    tables: dict[str, list[dict]] = {"tuning": [], "runs": [], "regions": [], "similarities": []}
    networks: dict[str, dict[tuple[str, int], Network]] = {FROZEN: {}, TRAINED: {}}
    for embedding, method in track(list(product(networks, METHODS)), "training"):
        cell = {"setting": embedding, "method": method}
        tuning = tune(method, embedding, settings)
        tables["tuning"] += [cell | row for row in tuning]
        for seed in settings.seeds:
            network, row = learn(method, embedding, seed, choose(tuning), settings)
            networks[embedding][method, seed] = network
            tables["runs"].append(cell | row)
            if seed == settings.seeds[0]:
                tables["regions"].append(cell | {"seed": seed, "rows": decision_map(network, settings.resolution)})
    for embedding, trained in networks.items():
        tables["similarities"] += similarities(trained, embedding, settings)
    return tables


def main(folder: Path, quick: bool) -> None:
    """Run the study; write measurements.json, table.{md,tex,csv}, decision_regions and loss_curves into folder."""
    settings = QUICK if quick else Settings()
    about = {
        "study": "pinwheel_paper",
        "settings": asdict(settings) | {"arms": ARMS, "width": WIDTH},
        "environment": environment.describe(),
        "structures": declarations(),
    }
    measurements.write(folder / "measurements.json", about, **run(settings))
    print_table(pinwheel_paper_report.write(folder))
