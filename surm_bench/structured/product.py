"""Products of structures."""

from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor

from surm_bench.structured.combined import Combined


@dataclass(frozen=True)
class Product(Combined):
    """S₁·S₂·…·Sₖ, for example ``Product((Toeplitz(8, 12), Toeplitz(12, 8)))``.

    The first factor has its usual start, zero. If the other factors were zero too, no factor would get a gradient, so
    all parameters of the other factors are drawn.

    Args:
        parts: the factors, from left to right; each factor has as many rows as the previous factor has columns.
        init_std: standard deviation of the start of all factors but the first (0.02 in the products of SURM's code).
    """

    init_std: float = 0.02

    @classmethod
    def shapes(cls, out_features: int, in_features: int, count: int) -> list[tuple[int, int]]:
        """Return shapes whose inner widths are the longer side of the product."""
        widths = [out_features, *[max(out_features, in_features)] * (count - 1), in_features]
        return list(pairwise(widths))

    def _check_shapes(self, shapes: list[tuple[int, int]]) -> None:
        if any(left[1] != right[0] for left, right in pairwise(shapes)):
            raise ValueError(f"a product of the shapes {shapes} is not possible: rows are not the columns before")

    @torch.no_grad()
    def start(self) -> dict[str, Tensor]:
        first = self.parts[0].start().keys()
        values = super().start()
        for name in list(values)[len(first) :]:
            values[name].normal_(std=self.init_std)
        return values

    def scaled(self, scale: float, *generators: Tensor) -> tuple[Tensor, ...]:
        *_, (last, own) = self.shares(generators)
        return *generators[: len(generators) - len(own)], *last.scaled(scale, *own)

    def dense(self, *generators: Tensor) -> Tensor:
        return reduce(torch.matmul, [part.dense(*own) for part, own in self.shares(generators)])

    def product(self, x: Tensor, *generators: Tensor) -> Tensor:
        for part, own in reversed(self.shares(generators)):
            x = part.product(part.transform(x), *part.prepare(*own))
        return x
