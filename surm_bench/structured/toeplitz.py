"""Toeplitz matrices, constant along each diagonal, and products of two symmetric ones."""

import torch
from torch import Tensor, nn

from surm_bench.structured.base import StructuredMatrix, VectorPair
from surm_bench.structured.convolution import (
    diagonal_index,
    group_mean,
    symmetric_diagonals,
    toeplitz_dense,
    toeplitz_matmul,
)


class Toeplitz(StructuredMatrix):
    """One general Toeplitz matrix, rectangular by itself: T[i, j] = t[i − j + in_features − 1]::

        t2 t1 t0
        t3 t2 t1
        t4 t3 t2

    Trains out_features + in_features − 1 numbers, all zero at the start.
    """

    def __init__(self, out_features: int, in_features: int):
        super().__init__(out_features, in_features)
        self.t = nn.Parameter(torch.empty(out_features + in_features - 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.t)

    def _dense(self, t: Tensor) -> Tensor:
        return toeplitz_dense(t, self.out_features, self.in_features)

    def _matmul(self, x: Tensor, t: Tensor) -> Tensor:
        return toeplitz_matmul(t, x, self.out_features)

    def _project(self, matrix: Tensor) -> None:
        index = diagonal_index(*matrix.shape, device=matrix.device) + self.in_features - 1
        self.t.copy_(group_mean(matrix, index, self.t.numel()))


class SymmetricToeplitz(VectorPair):
    """T(b)·T(a) with the symmetric T(t)[i, j] = t[|i − j|]::

        t0 t1 t2
        t1 t0 t1
        t2 t1 t0

    Trains 2n numbers. The product of two symmetric Toeplitz matrices is neither symmetric nor
    Toeplitz, and has no closed-form nearest member.

    Args:
        init_std: standard deviation of a's start (0.02 in SURM's released code).
    """

    def __init__(self, out_features: int, in_features: int, init_std: float = 0.02):
        super().__init__(out_features, in_features, init_std)

    def _dense(self, a: Tensor, b: Tensor) -> Tensor:
        left = toeplitz_dense(symmetric_diagonals(b), self.side, self.side)[: self.out_features]
        right = toeplitz_dense(symmetric_diagonals(a), self.side, self.side)[:, : self.in_features]
        return left @ right

    def _matmul(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        padded = nn.functional.pad(x, (0, self.side - self.in_features))
        inner = toeplitz_matmul(symmetric_diagonals(a), padded, self.side)  # (..., n)
        return toeplitz_matmul(symmetric_diagonals(b), inner, self.side)[..., : self.out_features]
