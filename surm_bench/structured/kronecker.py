"""Kronecker products of two small matrices."""

import math

import torch
from torch import Tensor, nn

from surm_bench.structured.base import StructuredMatrix
from surm_bench.structured.routes import Work


def divisors(n: int) -> list[int]:
    """The positive divisors of n, ascending."""
    return [d for d in range(1, n + 1) if n % d == 0]


def default_rank(out_features: int, in_features: int) -> int:
    """The divisor of gcd(out_features, in_features) nearest to its square root (the smaller one when two are)."""
    common = math.gcd(out_features, in_features)
    return min(divisors(common), key=lambda d: abs(d - math.sqrt(common)))


class Kronecker(StructuredMatrix):
    """B ⊗ A: every entry of B times the whole of A::

        b00·A  b01·A
        b10·A  b11·A

    A is p×q and B (out_features/p)×(in_features/q). SURM takes p = r and q = in_features/r: then it trains
    in_features + out_features numbers for every r, while the rank of the product is as large as r allows.

    Args:
        r: the rank-like number of SURM, a common divisor of both sizes; the one nearest to √gcd by default.
        factor: any other shape (p, q) of A, p a divisor of out_features and q one of in_features, instead of r.
        init_std: standard deviation of A's normal start; None is kaiming-uniform, as LoRA's A. SURM's released code
            takes the latter for weight deltas, 0.02 for residual adapters.

    Raises:
        ValueError: a size that does not divide; the message lists those that do.
    """

    def __init__(
        self,
        out_features: int,
        in_features: int,
        r: int | None = None,
        factor: tuple[int, int] | None = None,
        init_std: float | None = None,
    ):
        super().__init__(out_features, in_features)
        self.init_std = init_std
        p, q = factor or self._factor_of_rank(r)
        for size, features, name in ((p, out_features, "out_features"), (q, in_features, "in_features")):
            if size < 1 or features % size:
                raise ValueError(f"a Kronecker factor of side {size} does not divide {name}={features}: choose from "
                                 f"{divisors(features)}")  # fmt: skip
        self.a = nn.Parameter(torch.empty(p, q))
        self.b = nn.Parameter(torch.empty(out_features // p, in_features // q))
        self.reset_parameters()

    def _factor_of_rank(self, r: int | None) -> tuple[int, int]:
        if r is None:
            r = default_rank(self.out_features, self.in_features)
        common = math.gcd(self.out_features, self.in_features)
        if r < 1 or common % r:
            raise ValueError(f"r={r} does not divide both {self.out_features} and {self.in_features}: choose from "
                             f"{divisors(common)}")  # fmt: skip
        return r, self.in_features // r

    def reset_parameters(self) -> None:
        if self.init_std is None:
            nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))
        else:
            nn.init.normal_(self.a, std=self.init_std)
        nn.init.zeros_(self.b)

    def _dense(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.kron(b, a)

    def _matmul(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        blocks = x.unflatten(-1, (b.shape[1], a.shape[1]))  # (..., in/q, q): one row a block of x
        return (b @ (blocks @ a.T)).flatten(-2)  # (..., out/p, p)

    @property
    def work(self) -> Work:
        product = self.in_features * self.a.shape[0] + self.out_features * self.b.shape[1]
        return Work(product, gradient=2 * product, passes=1)

    def _adjoint(
        self, x: Tensor, g: Tensor, wants_x: bool, a: Tensor, b: Tensor
    ) -> tuple[Tensor | None, tuple[Tensor, Tensor]]:
        x, g = x.unflatten(-1, (b.shape[1], a.shape[1])), g.unflatten(-1, (b.shape[0], a.shape[0]))
        back = b.T @ g  # (tokens, in/q, p)
        gradients = back.flatten(0, 1).T @ x.flatten(0, 1), (g @ (x @ a.T).mT).sum(0)
        return (back @ a).flatten(-2) if wants_x else None, gradients

    def _project(self, matrix: Tensor) -> None:
        """Van Loan & Pitsianis (1993): rearranged so that blocks are rows, B ⊗ A is the rank-one vec(B)·vec(A)ᵀ."""
        (rows, columns), (p, q) = self.b.shape, self.a.shape
        blocks = matrix.reshape(rows, p, columns, q).transpose(1, 2).reshape(rows * columns, p * q)
        left, singular, right = torch.linalg.svd(blocks, full_matrices=False)
        scale = singular[0].sqrt()
        self.b.copy_((scale * left[:, 0]).view_as(self.b))
        self.a.copy_((scale * right[0]).view_as(self.a))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, factor={tuple(self.a.shape)}"
