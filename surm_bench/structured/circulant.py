"""Circulant matrices: each column is the previous column, moved down by one row and wrapped around."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from surm_bench.structured.convolution import CirculantFilter
from surm_bench.structured.diagonals import diagonal_index, group_mean
from surm_bench.structured.filtered import Filtered
from surm_bench.structured.structure import drawn


@dataclass(frozen=True)
class Circulant(Filtered):
    """C(a⊙b) with C(c)[i, j] = c[(i − j) mod n]::

        c0 c2 c1
        c1 c0 c2
        c2 c1 c0

    Trains 2n numbers and serves n. This is the parametrisation of SURM's released code, which has a switch to train a
    single vector. A single trained vector is C3A with one block (in PEFT, block_size = n), so there is no switch here.

    Args:
        init_std: standard deviation of the start of a; SURM takes 1 for weight deltas, 0.02 for residual adapters.
    """

    init_std: float = 1.0

    label: ClassVar[str] = "circulant"

    def start(self) -> dict[str, Tensor]:
        """Draw a and set b to zero, as SURM's released code does; a is drawn so that b's first gradient is not zero."""
        return {"a": drawn(self.side, std=self.init_std), "b": torch.zeros(self.side)}

    @property
    def num_spared(self) -> int:
        return self.side

    @property
    def filter(self) -> CirculantFilter:
        return CirculantFilter(self.out_features, self.in_features, self.side)

    def generators(self, a: Tensor, b: Tensor) -> tuple[Tensor]:
        return (a * b,)

    def nearest(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean of every wrapped diagonal as b, with a = 1."""
        index = diagonal_index(self.out_features, self.in_features, matrix.device) % self.side
        c = group_mean(matrix, index, self.side)
        return torch.ones_like(c), c
