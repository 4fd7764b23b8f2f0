"""Weight deltas: y = (W0 + ΔW)x + bias. Merging can be undone bit for bit. Each method defines one Delta class."""

from abc import abstractmethod
from typing import Any

import torch
from peft.tuners.tuners_utils import check_adapters_to_merge
from torch import Tensor, nn

from surm_bench.adapters.base_layer import check_mergeable, dense_weight
from surm_bench.adapters.tuner_layer import LinearTunerLayer, broken
from surm_bench.structured.precision import parameter_dtype, under_autocast, without_autocast


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


class DeltaLinear(LinearTunerLayer):
    """A frozen Linear plus the deltas of its active adapters.

    Subclasses whose adapters are not instances of Delta override get_delta_weight and forward.
    """

    content = "delta"

    def __init__(self, base_layer: nn.Linear):
        super().__init__(base_layer)
        self.register_buffer("unmerged", None, persistent=False)  # the base weight before merging

    def original_weight(self) -> Tensor:
        """Return the base weight without merged adapters, dequantised, shape (out_features, in_features)."""
        return self.unmerged if self.merged else dense_weight(self.base_layer)

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """Return ΔW of one adapter, shape (out_features, in_features)."""
        return self.adapters[adapter_name].dense()

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add the deltas of the named (default: active) adapters to the base weight, rounding once.

        Raises:
            UserError: the base layer's output would not follow from the merged weight.
            ValueError: safe_merge is set and the merged weight is not finite; the layer is unchanged.
        """
        names = [n for n in check_adapters_to_merge(self, adapter_names) if n in self.adapters]
        if not names:
            return
        check_mergeable(self.get_base_layer(), "this layer")
        weight = self.get_base_layer().weight
        original = self.unmerged if self.merged else weight.data
        with torch.no_grad(), without_autocast(weight.device):
            delta = sum(self.get_delta_weight(name).to(weight.device) for name in [*self.merged_adapters, *names])
            merged = (original + delta).to(original.dtype)  # the sum has the wider of the two precisions
        if safe_merge and not torch.isfinite(merged).all():
            raise broken(names)
        self.unmerged = original
        weight.data = merged
        self.merged_adapters.extend(names)

    def unmerge(self) -> None:
        """Restore the base weight to its value before merging, bit for bit."""
        if self.merged:
            self.get_base_layer().weight.data = self.unmerged
            self.unmerged = None
            self.merged_adapters.clear()

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(..., in_features) → (..., out_features); the other arguments go to the base layer."""
        if self.disable_adapters:
            self.unmerge()
        y = self.base_layer(x, *args, **kwargs)
        for name in [] if self.disable_adapters or self.merged else self.active():
            y = y + self._output(name, x).to(y.dtype)
        return y

    def _output(self, name: str, x: Tensor) -> Tensor:
        """Return the delta's output for x; the delta may have a wider precision than x."""
        delta = self.adapters[name]
        if under_autocast(x.device):
            return delta(x)
        return delta(x.to(delta.dtype))
