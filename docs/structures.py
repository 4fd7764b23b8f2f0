"""Draws docs/structures.png: the matrices of the method, each cell coloured by the number that it holds.

python docs/structures.py
"""

from pathlib import Path

import torch
from matplotlib.figure import Figure

from surm_bench.structured import STRUCTURES

SIDE = 16
TITLES = {
    "low_rank": "low rank, r = 1",
    "circulant": "circulant",
    "toeplitz": "Toeplitz",
    "symmetric_toeplitz": "product of two\nsymmetric Toeplitz",
    "kronecker": "Kronecker",
    "ldr": "LDR, r = 1",
}


def main() -> None:
    generator = torch.Generator().manual_seed(1)
    figure = Figure(figsize=(9, 2.1), dpi=150, layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, len(TITLES)), TITLES.items(), strict=True):
        matrix = STRUCTURES[name](SIDE, SIDE)
        drawn = [torch.randn(start.shape, generator=generator) for start in matrix.start().values()]
        dense = matrix.dense(*matrix.generators(*drawn))
        rank = torch.linalg.matrix_rank(dense)
        axes.imshow(dense, cmap="RdBu", vmin=-dense.abs().max(), vmax=dense.abs().max())
        axes.set_title(title, fontsize=8)
        axes.set_xlabel(f"{sum(map(torch.numel, drawn))} numbers, rank {rank}", fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.savefig(Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
