"""Low-displacement-rank matrices: sums of a few products of a circulant and a skew-circulant matrix."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from surm_bench.structured.convolution import CirculantFilter, SkewCirculantFilter
from surm_bench.structured.filtered import FilteredTwice
from surm_bench.structured.structure import Growth, drawn


@dataclass(frozen=True)
class LowDisplacementRank(FilteredTwice):
    """Σₖ C(gₖ)·S(hₖ), k = 1 … r, for circulant C and skew-circulant S, S(h)[i, j] = h[i − j] for i ≥ j::

        h0 −h2 −h1
        h1  h0 −h2
        h2  h1  h0

    If r is large enough, every matrix has this form. Trains 2rn numbers; g starts at zero.

    Args:
        r: number of products, at least 1.
        init_std: standard deviation of the start of h (0.02 in SURM's released code).
    """

    r: int = 1
    init_std: float = 0.02

    label: ClassVar[str] = "LDR"
    growth: ClassVar[Growth] = "r"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.r < 1:
            raise ValueError(f"a displacement rank r={self.r} is not possible: r is at least 1")

    def start(self) -> dict[str, Tensor]:
        return {"g": torch.zeros(self.r, self.side), "h": drawn(self.r, self.side, std=self.init_std)}

    @property
    def terms(self) -> int:
        return self.r

    @property
    def filters(self) -> tuple[CirculantFilter, SkewCirculantFilter]:
        n = self.side
        return CirculantFilter(self.out_features, n, n), SkewCirculantFilter(n, self.in_features, n)
