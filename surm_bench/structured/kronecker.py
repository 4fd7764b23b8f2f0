"""Kronecker products of two small matrices."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from surm_bench.structured.algebra import Cost
from surm_bench.structured.structure import Growth, Structure, drawn, kaiming_uniform


@dataclass(frozen=True)
class Kronecker(Structure):
    """B ⊗ A: every entry of B is multiplied by the whole matrix A::

        b00·A  b01·A
        b10·A  b11·A

    A is p×q and B is (out_features/p)×(in_features/q). SURM takes p = r and q = in_features/r. Then it trains
    in_features + out_features numbers for every r, and the rank of the product is as large as r allows.

    Args:
        r: the rank-like number of SURM, a common divisor of both sizes; by default the divisor nearest to √gcd.
        factor: any other shape (p, q) of A, instead of r; p divides out_features and q divides in_features.
        init_std: standard deviation of A's normal start; None is kaiming-uniform, as for LoRA's A. SURM's released code
            takes kaiming-uniform for weight deltas, 0.02 for residual adapters.

    Raises:
        ValueError: a size is not a divisor; the message lists the divisors.
    """

    r: int | None = None
    factor: tuple[int, int] | None = None
    init_std: float | None = None
    shape_of_a: tuple[int, int] = field(init=False, repr=False, compare=False)  # (p, q)

    label: ClassVar[str] = "Kronecker"
    growth: ClassVar[Growth] = "terms"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.factor is not None and self.r is not None:
            raise ValueError(f"r={self.r} and factor={tuple(self.factor)} both give the shape of a Kronecker factor: "
                             "leave one of them out")  # fmt: skip
        common = math.gcd(self.out_features, self.in_features)
        if self.r is not None and (self.r < 1 or common % self.r):
            raise ValueError(f"r={self.r} does not divide both {self.out_features} and {self.in_features}: choose from "
                             f"{divisors(common)}")  # fmt: skip
        object.__setattr__(self, "shape_of_a", self._shape_of_a())  # computed once; the class is frozen
        for size, name in zip(self.shape_of_a, ("out_features", "in_features"), strict=True):
            features = getattr(self, name)
            if size < 1 or features % size:
                raise ValueError(f"a Kronecker factor of side {size} does not divide {name}={features}: choose from "
                                 f"{divisors(features)}")  # fmt: skip

    def _shape_of_a(self) -> tuple[int, int]:
        if self.factor is not None:
            return self.factor
        r = self.r or default_rank(self.out_features, self.in_features)
        return r, self.in_features // r

    @property
    def shape_of_b(self) -> tuple[int, int]:
        """The shape (out_features/p, in_features/q) of B."""
        p, q = self.shape_of_a
        return self.out_features // p, self.in_features // q

    def start(self) -> dict[str, Tensor]:
        shape = self.shape_of_a
        a = kaiming_uniform(*shape) if self.init_std is None else drawn(*shape, std=self.init_std)
        return {"a": a, "b": torch.zeros(self.shape_of_b)}

    def dense(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.kron(b, a)

    def product(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        blocks = x.unflatten(-1, (b.shape[1], a.shape[1]))  # (..., in/q, q): each row is a block of x
        return (b @ (blocks @ a.T)).flatten(-2)  # (..., out/p, p)

    def adjoint(
        self, x: Tensor, g: Tensor, wants_x: bool, a: Tensor, b: Tensor
    ) -> tuple[Tensor | None, tuple[Tensor, Tensor]]:
        x, g = x.unflatten(-1, (b.shape[1], a.shape[1])), g.unflatten(-1, (b.shape[0], a.shape[0]))
        back = b.T @ g  # (tokens, in/q, p)
        gradients = back.flatten(0, 1).T @ x.flatten(0, 1), (g @ (x @ a.T).mT).sum(0)
        return (back @ a).flatten(-2) if wants_x else None, gradients

    @property
    def cost(self) -> Cost:
        product = self.in_features * self.shape_of_a[0] + self.out_features * self.shape_of_b[1]
        # A step of a layer of 768 starts 18 operations with factors and 11 by the dense route: 4 more for each of
        # product and gradient.
        return Cost(product, gradient=2 * product, passes=1, operations=4)

    def nearest(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Find the nearest Kronecker product by the method of Van Loan & Pitsianis (1993).

        With each block of the matrix rearranged into a row, B ⊗ A becomes the rank-one matrix vec(B)·vec(A)ᵀ.
        """
        (p, q), (rows, columns) = self.shape_of_a, self.shape_of_b
        blocks = matrix.reshape(rows, p, columns, q).transpose(1, 2).reshape(rows * columns, p * q)
        left, singular, right = torch.linalg.svd(blocks, full_matrices=False)
        scale = singular[0].sqrt()
        return (scale * right[0]).view(p, q), (scale * left[:, 0]).view(rows, columns)


def divisors(n: int) -> list[int]:
    """Return the positive divisors of n in ascending order."""
    return [d for d in range(1, n + 1) if n % d == 0]


def default_rank(out_features: int, in_features: int) -> int:
    """Return the divisor of gcd(out_features, in_features) nearest to its square root (on a tie the smaller)."""
    common = math.gcd(out_features, in_features)
    return min(divisors(common), key=lambda d: abs(d - math.sqrt(common)))
