"""Make the weights of an embedded backbone again: ``python scripts/pretrain_embedded.py roberta_tiny|vit_digits``."""

import checkout  # noqa: F401  (before the package)

# isort: split
import argparse
import os
from pathlib import Path

import torch
from pretraining import text, vision

import surm_bench

BACKBONES = {"roberta_tiny": (text.pretrain, 6_500), "vit_digits": (vision.pretrain, 1_500)}  # and the default steps
EMBEDDED = Path(surm_bench.__file__).parent / "models" / "embedded"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbone", choices=BACKBONES)
    parser.add_argument("--steps", type=int, help="optimiser steps (default: what the shipped weights had)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the data and of the weights (default: 0)")
    parser.add_argument("--folder", type=Path, default=EMBEDDED, help="where the backbone's folder goes")
    options = parser.parse_args()
    pretrain, steps = BACKBONES[options.backbone]
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    pretrain(options.folder / options.backbone, options.steps or steps, options.seed)


if __name__ == "__main__":
    main()
