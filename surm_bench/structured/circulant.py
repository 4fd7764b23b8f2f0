"""Circulant matrices: each column is the one before it, moved down by one and wrapped."""

from torch import Tensor

from surm_bench.structured.base import VectorPair
from surm_bench.structured.convolution import CirculantFilter
from surm_bench.structured.diagonals import diagonal_index, group_mean
from surm_bench.structured.filtered import Filtered


class Circulant(VectorPair, Filtered):
    """C(a⊙b) with C(c)[i, j] = c[(i − j) mod n]::

        c0 c2 c1
        c1 c0 c2
        c2 c1 c0

    Trains 2n numbers and serves n (the parametrisation of SURM's released code, where a switch leaves one vector). One
    vector, trained by itself, is C3A with a single block (PEFT's, block_size = n), so there is no switch here.

    Args:
        init_std: standard deviation of a's start; SURM takes 1 for weight deltas, 0.02 for residual adapters.
    """

    def __init__(self, out_features: int, in_features: int, init_std: float = 1.0):
        super().__init__(out_features, in_features, init_std)

    @property
    def num_stored(self) -> int:
        return self.side

    @property
    def filter(self) -> CirculantFilter:
        return CirculantFilter(self.out_features, self.in_features, self.side)

    def _generators(self, a: Tensor, b: Tensor) -> tuple[Tensor]:
        return (a * b,)

    def _project(self, matrix: Tensor) -> None:
        index = diagonal_index(*matrix.shape, device=matrix.device) % self.side
        self.a.fill_(1.0)
        self.b.copy_(group_mean(matrix, index, self.side))
