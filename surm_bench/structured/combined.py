"""The base class of sums and products of structures, whose parameters are the parameters of their parts."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import ClassVar

import torch
from torch import Tensor

from surm_bench.structured.algebra import Algebra


@dataclass(frozen=True)
class Combined(Algebra):
    """A matrix made of other matrices, its parts.

    The parameter ``a`` of the first part is named ``a0``, the parameter ``a`` of the second part ``a1``. The rule that
    chooses a route takes the dense route. The other route, "parts", multiplies by each part by the part's own route: it
    prepares the parts anew for each chunk of tokens, and autograd computes its gradients.

    Args:
        parts: structures, or sums and products of them; at least one.

    Raises:
        ValueError: no parts, or shapes that do not fit.
    """

    parts: tuple[Algebra, ...]
    # The number of parameters and the number of generators of each part.
    _counts: tuple[list[int], list[int]] = field(init=False, repr=False, compare=False)

    own_route: ClassVar[str] = "parts"

    @classmethod
    def options(cls) -> list[str]:
        """Return the names of the options, including ``parts``."""
        return [option.name for option in fields(cls) if option.init]

    @classmethod
    @abstractmethod
    def shapes(cls, out_features: int, in_features: int, count: int) -> list[tuple[int, int]]:
        """Return the shapes of ``count`` parts whose combination has the given shape."""

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError(f"a {type(self).__name__} of no parts is not possible: give at least one")
        object.__setattr__(self, "_counts", self._counted())  # computed once; the class is frozen
        self._check_shapes([(part.out_features, part.in_features) for part in self.parts])

    @abstractmethod
    def _check_shapes(self, shapes: list[tuple[int, int]]) -> None:
        """Refuse shapes that do not fit together."""

    @property
    def out_features(self) -> int:
        return self.parts[0].out_features

    @property
    def in_features(self) -> int:
        return self.parts[-1].in_features

    def start(self) -> dict[str, Tensor]:
        return {f"{name}{i}": value for i, part in enumerate(self.parts) for name, value in part.start().items()}

    @property
    def num_spared(self) -> int:
        return sum(part.num_spared for part in self.parts)

    def generators(self, *parameters: Tensor) -> tuple[Tensor, ...]:
        return _joined(part.generators(*own) for part, own in self._shares(parameters, self._counts[0]))

    @property
    def values_per_token(self) -> int:
        return max(part.values_per_token for part in self.parts)

    def shares(self, generators: Sequence[Tensor]) -> list[tuple[Algebra, list[Tensor]]]:
        """Return each part with its share of the generators."""
        return self._shares(generators, self._counts[1])

    def _shares(self, tensors: Sequence[Tensor], counts: Sequence[int]) -> list[tuple[Algebra, list[Tensor]]]:
        remaining = iter(tensors)
        return [(part, list(islice(remaining, count))) for part, count in zip(self.parts, counts, strict=True)]

    def _counted(self) -> tuple[list[int], list[int]]:
        with torch.device("meta"):
            starts = [tuple(part.start().values()) for part in self.parts]
            generators = [part.generators(*start) for part, start in zip(self.parts, starts, strict=True)]
        return [len(start) for start in starts], [len(own) for own in generators]


def _joined(tuples: Iterable[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return tuple(tensor for own in tuples for tensor in own)
