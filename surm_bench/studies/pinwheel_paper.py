"""The pinwheel in the paper's setting (arXiv 2406.17740, Figures 4 and 9, Table 8): five arms, a matrix of 64×64.

surm-bench study pinwheel_paper: with a frozen or trained embedding; the trained networks are compared by CKA.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from pathlib import Path

import torch
from rich.progress import track
from torch import Tensor, nn

from surm_bench.structured import STRUCTURES, StructuredMatrix
from surm_bench.studies import pinwheel_paper_report, pinwheel_report
from surm_bench.studies.members import declarations
from surm_bench.studies.pinwheel_data import TEST
from surm_bench.studies.pinwheel_network import STRUCTURED, Network
from surm_bench.studies.pinwheel_runs import Settings, add_runs, points
from surm_bench.studies.reporting import about, conclude
from surm_bench.studies.similarity import linear_cka

ARMS, WIDTH = 5, 64
FROZEN, TRAINED = "embedding frozen", "embedding trained"
METHODS = (*STRUCTURED, "dense")  # low_rank is LoRA r=1, dense the fully trained matrix
FULL = Settings(train_per_arm=60, seeds=(0, 1, 2), tuning_seeds=(1000,), rates=(0.001, 0.003, 0.01), steps=2000)
QUICK = replace(FULL, test_per_arm=20, seeds=(0, 1), rates=(0.01,), steps=20, points_of_curve=10, resolution=20)


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


def similarity(one: Network, full: Network, x: Tensor) -> dict[str, float]:
    """Return the CKA of the head's inputs for the points x, and of the hidden matrices."""
    with torch.no_grad():
        return {
            "cka_features": linear_cka(one.features(x), full.features(x)),
            "cka_weights": linear_cka(one.matrix(), full.matrix()),
        }


def similarities(networks: dict[str, Sequence[Network]], embedding: str, settings: Settings) -> list[dict]:
    """Compare every network with the fully trained network of its seed.

    Two references: the fully trained network of the next seed, and the dense network before training.

    Args:
        networks: method -> the trained networks, one per seed.
    """
    rows = []
    for place, seed in enumerate(settings.seeds):
        x, _ = points([seed, TEST], settings.test_per_arm, ARMS)
        others = {method: networks[method][place] for method in STRUCTURED}
        others["dense, another seed"] = networks["dense"][(place + 1) % len(settings.seeds)]
        others["dense, not trained"] = build("dense", embedding, seed)
        for name, other in others.items():
            cell = {"setting": embedding, "method": name, "seed": seed}
            rows.append(cell | similarity(other, networks["dense"][place], x))
    return rows


def run(settings: Settings) -> dict[str, list[dict]]:
    """Return the tables of the records: one row per tried rate, run, decision map (first seed only), and comparison."""
    tables: dict[str, list[dict]] = {"tuning": [], "runs": [], "regions": [], "similarities": []}
    networks: dict[str, dict[str, list[Network]]] = {FROZEN: {}, TRAINED: {}}
    for embedding, method in track(list(product(networks, METHODS)), "training"):
        cell = {"setting": embedding, "method": method}
        networks[embedding][method] = add_runs(tables, cell, partial(build, method, embedding), settings)
    for embedding, trained in networks.items():
        tables["similarities"] += similarities(trained, embedding, settings)
    return tables


def main(folder: Path, quick: bool) -> None:
    """Run the study; write measurements.json, table.{md,tex,csv}, decision_regions and loss_curves into folder."""
    settings = QUICK if quick else FULL
    conclude(
        folder,
        about("pinwheel_paper", asdict(settings) | {"arms": ARMS, "width": WIDTH}, structures=declarations()),
        run(settings),
        pinwheel_paper_report.similarity_table,
        decision_regions=pinwheel_paper_report.draw_regions,
        loss_curves=pinwheel_report.draw_losses,
    )
