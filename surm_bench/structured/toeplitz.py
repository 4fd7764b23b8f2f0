"""Toeplitz matrices, constant along each diagonal, and products of two symmetric Toeplitz matrices."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from surm_bench.structured.algebra import Cost
from surm_bench.structured.centrosymmetric import centrosymmetric_outer
from surm_bench.structured.convolution import ToeplitzFilter
from surm_bench.structured.diagonals import diagonal_index, group_mean, symmetric_diagonals
from surm_bench.structured.filtered import Filtered, FilteredTwice
from surm_bench.structured.structure import drawn
from surm_bench.structured.toeplitz_product import toeplitz_product
from surm_bench.structured.tracing import prefers_few_operations


@dataclass(frozen=True)
class Toeplitz(Filtered):
    """One general Toeplitz matrix, square or rectangular: T[i, j] = t[i − j + in_features − 1]::

        t2 t1 t0
        t3 t2 t1
        t4 t3 t2

    Trains out_features + in_features − 1 numbers, all zero at the start.
    """

    label: ClassVar[str] = "Toeplitz"

    def start(self) -> dict[str, Tensor]:
        return {"t": torch.zeros(self.out_features + self.in_features - 1)}

    @property
    def filter(self) -> ToeplitzFilter:
        return ToeplitzFilter(self.out_features, self.in_features)

    def nearest(self, matrix: Tensor) -> tuple[Tensor]:
        """Return the mean of every diagonal."""
        index = diagonal_index(self.out_features, self.in_features, matrix.device) + self.in_features - 1
        return (group_mean(matrix, index, self.out_features + self.in_features - 1),)


@dataclass(frozen=True)
class SymmetricToeplitz(FilteredTwice):
    """T(b)·T(a) with the symmetric T(t)[i, j] = t[|i − j|]::

        t0 t1 t2
        t1 t0 t1
        t2 t1 t0

    Trains 2n numbers. The product of two symmetric Toeplitz matrices is not symmetric and not Toeplitz, and its
    nearest member has no closed form. A square product is centrosymmetric: reversing both axes changes nothing.

    Args:
        init_std: standard deviation of the start of a (0.02 in SURM's released code).
    """

    init_std: float = 0.02

    label: ClassVar[str] = "symmetric Toeplitz"

    def start(self) -> dict[str, Tensor]:
        """Draw a and set b to zero; because a is drawn, b's gradient at the first step is not zero."""
        return {"a": drawn(self.side, std=self.init_std), "b": torch.zeros(self.side)}

    @property
    def filters(self) -> tuple[ToeplitzFilter, ToeplitzFilter]:
        return ToeplitzFilter(self.out_features, self.side), ToeplitzFilter(self.side, self.in_features)

    def generators(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the Toeplitz vectors of T(b)'s leading rows and of T(a)'s leading columns."""
        left, right = symmetric_diagonals(torch.stack((b, a))).unbind()
        return left[None, : self.out_features + self.side - 1], right[None, self.side - self.in_features :]

    @property
    def cost(self) -> Cost:
        # centrosymmetric_outer has half the multiply-adds of gᵀ·x, and sums and differences of all rows.
        return super().cost._replace(outer=0.6) if self._centrosymmetric else super().cost

    def by_displacement(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the matrix; if it is centrosymmetric, build only the upper half, whose reversal is the lower half."""
        if not self._centrosymmetric:
            return super().by_displacement(left, right)
        n, half = self.side, (self.side + 1) // 2
        upper = toeplitz_product(left[:, : half + n - 1], right, half, n, n)
        return torch.cat((upper, upper[: n - half].flip(0, 1)))

    def outer(self, g: Tensor, x: Tensor) -> Tensor:
        if not self._centrosymmetric or prefers_few_operations(x.device):
            return super().outer(g, x)
        return centrosymmetric_outer(g, x)

    @property
    def _centrosymmetric(self) -> bool:
        return self.out_features == self.in_features
