"""Sums of structures."""

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from surm_bench.structured.combined import Combined


@dataclass(frozen=True)
class Sum(Combined):
    """S₁ + … + Sₖ of one shape, for example ``Sum((Circulant(8, 8), LowRank(8, 8, r=2)))``; all parts start at zero."""

    @classmethod
    def shapes(cls, out_features: int, in_features: int, count: int) -> list[tuple[int, int]]:
        return [(out_features, in_features)] * count

    def _check_shapes(self, shapes: list[tuple[int, int]]) -> None:
        if len(set(shapes)) > 1:
            raise ValueError(f"a sum of the shapes {shapes} is not possible: they are not the same")

    def scaled(self, scale: float, *generators: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor for part, own in self.shares(generators) for tensor in part.scaled(scale, *own))

    def dense(self, *generators: Tensor) -> Tensor:
        return reduce(torch.add, [part.dense(*own) for part, own in self.shares(generators)])

    def product(self, x: Tensor, *generators: Tensor) -> Tensor:
        shares = self.shares(generators)
        return reduce(torch.add, [part.product(part.transform(x), *part.prepare(*own)) for part, own in shares])
