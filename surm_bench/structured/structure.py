"""What a structure is: an algebra for every shape, its options, and what studies, benchmark and reports say of it."""

import math
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from surm_bench.structured.algebra import Algebra

Growth = Literal["r", "terms"] | None  # how more than 2·n numbers are spent: by a larger r, or by a sum of more terms


@dataclass(frozen=True)
class Structure(Algebra):
    """A named family of matrices. Its fields beyond the two sizes are its options.

    A rectangular member of a square family is the leading block of the square matrix of side
    ``n = max(out_features, in_features)``: pad, multiply, crop.

    Args:
        out_features: rows, at least 1.
        in_features: columns, at least 1.

    Raises:
        ValueError: a size below 1, or options that the sizes do not allow.
    """

    out_features: int
    in_features: int

    label: ClassVar[str]  # in tables and figures
    growth: ClassVar[Growth] = None
    baseline: ClassVar[bool] = False  # whether others are held against it, so that no table needs it beside them

    def __post_init__(self) -> None:
        if self.out_features < 1 or self.in_features < 1:
            raise ValueError(
                f"a matrix of {self.out_features}×{self.in_features} is not possible: both sizes are at least 1"
            )

    @classmethod
    def options(cls) -> list[str]:
        """The names of the options."""
        return [field.name for field in fields(cls) if field.name not in ("out_features", "in_features")]

    @classmethod
    def has_closed_form(cls) -> bool:
        """Whether the nearest member to a matrix has one."""
        return cls.nearest is not Algebra.nearest


def drawn(*shape: int, std: float) -> Tensor:
    """Normal numbers of mean zero."""
    return torch.empty(shape).normal_(std=std)


def kaiming_uniform(*shape: int) -> Tensor:
    """The start of LoRA's A."""
    return nn.init.kaiming_uniform_(torch.empty(shape), a=math.sqrt(5))
