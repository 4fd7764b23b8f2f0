"""The pinwheel in the paper's setting (arXiv 2406.17740, Figures 4 and 9, Table 8): five arms, a matrix of 64×64.

surm-bench study pinwheel_paper: the embedding frozen or trained; how like the trained networks are, by CKA.
"""

from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn

from surm_bench import environment
from surm_bench.report.console import print_table
from surm_bench.structured import STRUCTURES, StructuredMatrix
from surm_bench.studies import measurements, pinwheel_paper_report
from surm_bench.studies.members import declarations
from surm_bench.studies.pinwheel import choose, decision_map
from surm_bench.studies.pinwheel_data import TEST, TRAIN, draw
from surm_bench.studies.pinwheel_network import STRUCTURED, Network, classify, matrix_counts, train
from surm_bench.studies.similarity import linear_cka

ARMS, WIDTH = 5, 64
FROZEN, TRAINED = "embedding frozen", "embedding trained"
METHODS = (*STRUCTURED, "dense")  # low_rank is LoRA r=1, dense the fully trained matrix


@dataclass(frozen=True)
class Settings:
    """How much is trained, and on what.

    Attributes:
        train_per_arm: points of each class; a seed draws them and the network's start, the same for all methods.
        test_per_arm: further points, which accuracy and CKA are measured on.
        seeds: those reported.
        tuning_seeds: those that the learning rates are chosen on, by the best mean accuracy; on a tie, the smaller.
        rates: the grid, the same for every method.
        steps: of Adam, each on all points: epochs.
        points_of_curve: losses that are kept of each run.
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
    """The network before training. All methods of a seed start from the same embedding and head; a structured hidden
    matrix is trained in place of the dense one, W₀ = 0. requires_grad says what is trained."""
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
    """Train one network; returns it and its row of the records."""
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
    """Accuracies of the tuning seeds, a row a rate."""
    return [
        {
            "rate": rate,
            "accuracies": [learn(method, embedding, s, rate, settings)[1]["accuracy"] for s in settings.tuning_seeds],
        }
        for rate in settings.rates
    ]


def similarity(one: Network, full: Network, x: Tensor) -> dict[str, float]:
    """CKA of what the head sees of the points x, and of the hidden matrices."""
    with torch.no_grad():
        return {
            "cka_features": linear_cka(one.features(x), full.features(x)),
            "cka_weights": linear_cka(one.matrix(), full.matrix()),
        }


def similarities(networks: dict[tuple[str, int], Network], embedding: str, settings: Settings) -> list[dict]:
    """Every network against the fully trained one of its seed, and two references: the fully trained one of the next
    seed, and the dense one before training."""
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
    """The tables of the records: a row a tried rate, a run, a decision map (of the first seed), and a comparison."""
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
    """Train anew and write measurements.json, table.{md,tex,csv}, decision_regions and loss_curves into folder."""
    settings = QUICK if quick else Settings()
    about = {
        "study": "pinwheel_paper",
        "settings": asdict(settings) | {"arms": ARMS, "width": WIDTH},
        "environment": environment.describe(),
        "structures": declarations(),
    }
    measurements.write(folder / "measurements.json", about, **run(settings))
    print_table(pinwheel_paper_report.write(folder))
