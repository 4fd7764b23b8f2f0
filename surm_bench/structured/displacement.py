"""Low-displacement-rank matrices: a sum of a few circulant times skew-circulant products."""

import torch
from torch import Tensor, nn

from surm_bench.structured.base import StructuredMatrix
from surm_bench.structured.convolution import (
    circulant_diagonals,
    circulant_matmul,
    skew_circulant_diagonals,
    toeplitz_dense,
    toeplitz_matmul,
)


class LowDisplacementRank(StructuredMatrix):
    """Σₖ C(gₖ)·S(hₖ), k = 1 … r, C circulant and S skew-circulant, S(h)[i, j] = h[i − j] on and below the diagonal::

        h0 −h2 −h1
        h1  h0 −h2
        h2  h1  h0

    With r large enough every matrix is of this form. Trains 2rn numbers; g starts at zero.

    Args:
        r: number of products, at least 1.
        init_std: standard deviation of h's start (0.02 in SURM's released code).
    """

    def __init__(self, out_features: int, in_features: int, r: int = 1, init_std: float = 0.02):
        super().__init__(out_features, in_features)
        if r < 1:
            raise ValueError(f"a displacement rank r={r} is not possible: r is at least 1")
        self.init_std = init_std
        self.g = nn.Parameter(torch.empty(r, self.side))
        self.h = nn.Parameter(torch.empty(r, self.side))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.g)
        nn.init.normal_(self.h, std=self.init_std)

    def _dense(self, g: Tensor, h: Tensor) -> Tensor:
        return sum(self._product(*pair) for pair in zip(g, h, strict=True))

    def _product(self, g: Tensor, h: Tensor) -> Tensor:
        left = toeplitz_dense(circulant_diagonals(g, self.out_features, self.side), self.out_features, self.side)
        right = toeplitz_dense(skew_circulant_diagonals(h), self.side, self.side)[:, : self.in_features]
        return left @ right

    def _matmul(self, x: Tensor, g: Tensor, h: Tensor) -> Tensor:
        padded = nn.functional.pad(x, (0, self.side - self.in_features))
        return sum(
            circulant_matmul(gk, toeplitz_matmul(skew_circulant_diagonals(hk), padded, self.side), self.out_features)
            for gk, hk in zip(g, h, strict=True)
        )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, r={self.g.shape[0]}"
