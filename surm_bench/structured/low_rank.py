"""Low-rank matrices: LoRA's update, the baseline for comparison with the other structures."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from surm_bench.structured.algebra import Cost
from surm_bench.structured.structure import Growth, Structure, kaiming_uniform


@dataclass(frozen=True)
class LowRank(Structure):
    """B·A of rank at most r, with LoRA's start: A is kaiming-uniform, B is zero (Hu et al., 2021).

    Args:
        r: the rank, from 1 to the smaller of the two sizes.

    Raises:
        ValueError: r is outside this range.
    """

    r: int = 1

    label: ClassVar[str] = "low rank"
    growth: ClassVar[Growth] = "r"
    baseline: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        largest = min(self.out_features, self.in_features)
        if not 1 <= self.r <= largest:
            raise ValueError(f"rank r={self.r} is not possible: choose from 1 to {largest}")

    def start(self) -> dict[str, Tensor]:
        return {"a": kaiming_uniform(self.r, self.in_features), "b": torch.zeros(self.out_features, self.r)}

    def dense(self, a: Tensor, b: Tensor) -> Tensor:
        return b @ a

    def product(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return (x @ a.T) @ b.T

    def adjoint(
        self, x: Tensor, g: Tensor, wants_x: bool, a: Tensor, b: Tensor
    ) -> tuple[Tensor | None, tuple[Tensor, Tensor]]:
        back = g @ b  # (tokens, r)
        return back @ a if wants_x else None, (back.T @ x, g.T @ (x @ a.T))

    @property
    def cost(self) -> Cost:
        product = self.r * (self.in_features + self.out_features)
        return Cost(product, gradient=2 * product, passes=1)

    def nearest(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Return the leading r singular triplets, the nearest member by the Eckart–Young theorem."""
        left, singular, right = torch.linalg.svd(matrix, full_matrices=False)
        scale = singular[: self.r].sqrt()
        return scale[:, None] * right[: self.r], left[:, : self.r] * scale
