"""The base class of structures: an algebra for every shape, its options, and facts for studies and reports."""

import math
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from surm_bench.structured.algebra import Algebra

Growth = Literal["r", "terms"] | None  # how to train more than 2·n numbers: a larger r, or a sum of more terms


@dataclass(frozen=True)
class Structure(Algebra):
    """A named family of matrices. All fields except the two sizes are options.

    A rectangular member of a square family is the leading block of the square matrix of side
    ``n = max(out_features, in_features)``: pad, multiply, crop.

    Args:
        out_features: rows, at least 1.
        in_features: columns, at least 1.

    Raises:
        ValueError: a size is below 1, or the sizes do not allow the options.
    """

    out_features: int
    in_features: int

    label: ClassVar[str]  # the name in tables and figures
    growth: ClassVar[Growth] = None
    baseline: ClassVar[bool] = False  # whether it is the baseline of other structures, so no table lists it beside them

    def __post_init__(self) -> None:
        if self.out_features < 1 or self.in_features < 1:
            raise ValueError(
                f"a matrix of {self.out_features}×{self.in_features} is not possible: both sizes are at least 1"
            )

    @classmethod
    def options(cls) -> list[str]:
        """Return the names of the options."""
        return [o.name for o in fields(cls) if o.init and o.name not in ("out_features", "in_features")]

    @classmethod
    def has_closed_form(cls) -> bool:
        """Return whether the member nearest to a matrix has a closed form."""
        return cls.nearest is not Algebra.nearest


def drawn(*shape: int, std: float) -> Tensor:
    """Draw normal numbers with mean zero."""
    return torch.empty(shape).normal_(std=std)


def kaiming_uniform(*shape: int) -> Tensor:
    """Draw numbers as LoRA draws the start of A."""
    return nn.init.kaiming_uniform_(torch.empty(shape), a=math.sqrt(5))
