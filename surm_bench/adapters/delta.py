"""Weight deltas: y = (W0 + ΔW)x + bias. Each method defines one Delta class."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from surm_bench.adapters.base_layer import dense_weight
from surm_bench.adapters.merging import MergeableLayer
from surm_bench.adapters.tuner_layer import LinearTunerLayer
from surm_bench.structured.precision import parameter_dtype, under_autocast


class Delta(nn.Module):
    """ΔW of one adapter on one layer, including its scale. ΔW is zero or close to zero at the start."""

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which the delta computes outside autocast."""
        return parameter_dtype(self)

    @property
    def num_spared(self) -> int:
        """The number of trained values minus the number of values needed to serve the delta."""
        return 0

    @abstractmethod
    def dense(self) -> Tensor:
        """ΔW, shape (out_features, in_features)."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """ΔW·x: (..., in_features) → (..., out_features)."""


class ThinDelta(Delta):
    """A ΔW that is the product of two thin matrices."""

    @abstractmethod
    def pair(self) -> tuple[Tensor, Tensor]:
        """Return two factors of shapes (out_features, r) and (r, in_features), whose product is ΔW."""

    def dense(self) -> Tensor:
        left, right = self.pair()
        return left @ right

    def forward(self, x: Tensor) -> Tensor:
        left, right = (factor.to(x.device) for factor in self.pair())
        return x @ right.T @ left.T


class DeltaLinear(MergeableLayer, LinearTunerLayer):
    """A frozen Linear plus the deltas of its active adapters.

    Subclasses whose adapters are not instances of Delta override get_delta_weight and forward.
    """

    content = "delta"

    def original_weight(self) -> Tensor:
        """Return the base weight without merged adapters, dequantised, shape (out_features, in_features)."""
        return self.unmerged_weight if self.merged else dense_weight(self.base_layer)

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """Return ΔW of one adapter, shape (out_features, in_features)."""
        return self.adapters[adapter_name].dense()

    def merged_values(self, names: Sequence[str], originals: Sequence[Tensor | None]) -> list[Tensor]:
        (weight,) = originals
        # The sum has the wider of the two precisions.
        return [weight + sum(self.get_delta_weight(name).to(weight.device) for name in names)]

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(..., in_features) → (..., out_features); the other arguments go to the base layer."""
        names = self.unmerged_names()
        y = self.base_layer(x, *args, **kwargs)
        for name in names:
            y = y + self._output(name, x).to(y.dtype)
        return y

    def _output(self, name: str, x: Tensor) -> Tensor:
        """Return the delta's output for x; the delta may have a wider precision than x."""
        delta = self.adapters[name]
        if under_autocast(x.device):
            return delta(x)
        return delta(x.to(delta.dtype))
