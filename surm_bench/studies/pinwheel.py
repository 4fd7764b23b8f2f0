"""What can a small network learn with one structured matrix? LoRA, circulant and Toeplitz on a pinwheel of points.

make study-pinwheel: the toy problem of the paper (arXiv 2406.17740), from scratch and as an adaptation.
"""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path

import torch
from rich.progress import track

from surm_bench.studies import pinwheel_report
from surm_bench.studies.members import declarations
from surm_bench.studies.pinwheel_data import ARMS, HALF_A_SECTOR, SOURCE_TEST, SOURCE_TRAIN
from surm_bench.studies.pinwheel_network import METHODS, Network, build, train
from surm_bench.studies.pinwheel_runs import Settings, accuracy, add_runs, points
from surm_bench.studies.reporting import about, conclude

SCRATCH, ADAPTED = "from scratch", "adapted"
SOURCE_RATE = 1e-2  # learning rate of the pretraining

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
    conclude(
        folder,
        about("pinwheel", asdict(settings), structures=declarations()),
        run(settings),
        pinwheel_report.accuracy_table,
        decision_regions=pinwheel_report.draw_regions,
        loss_curves=pinwheel_report.draw_losses,
    )


def run(settings: Settings) -> dict[str, list[dict]]:
    """Return the tables of the records: one row per pretraining, tried rate, run, and decision map (first seed)."""
    tables: dict[str, list[dict]] = {"pretraining": [], "tuning": [], "runs": [], "regions": []}
    pretrained = {}
    for seed in track([*settings.seeds, *settings.tuning_seeds], "pretraining"):
        pretrained[seed], score = pretrain(seed, settings)
        tables["pretraining"].append({"seed": seed, "accuracy": score})
    for setting, method in track(list(product((SCRATCH, ADAPTED), METHODS)), "training"):
        bases = pretrained if setting == ADAPTED else {}
        add_runs(tables, {"setting": setting, "method": method}, partial(start, method, bases), settings)
    return tables


def pretrain(seed: int, settings: Settings) -> tuple[Network, float]:
    """Train an ordinary network on the wheel turned by half a sector; return it and its accuracy there."""
    network = start("dense", {}, seed)
    x, y = points([seed, SOURCE_TRAIN], settings.train_per_arm, ARMS, HALF_A_SECTOR)
    train(network, x, y, SOURCE_RATE, settings.steps)
    return network, accuracy(network, [seed, SOURCE_TEST], settings.test_per_arm, HALF_A_SECTOR)


def start(method: str, bases: Mapping[int, Network], seed: int) -> Network:
    """Return the network before training, drawn by the seed: an adaptation of the seed's base, if it has one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(method, ARMS, bases.get(seed))
