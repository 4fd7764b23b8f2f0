"""Weight deltas: y = (W0 + ΔW)x + bias, with merging that can be undone to the bit. One method gives one Delta."""

from abc import abstractmethod
from typing import Any

import torch
from peft.tuners.tuners_utils import check_adapters_to_merge
from torch import Tensor, nn

from surm_bench.adapters.base_layer import check_mergeable
from surm_bench.adapters.tuner import LinearTunerLayer, broken
from surm_bench.structured.precision import parameter_dtype, under_autocast, without_autocast


class Delta(nn.Module):
    """ΔW of one adapter on one layer, its scale included; zero, or next to it, at the start."""

    @property
    def dtype(self) -> torch.dtype:
        """What the delta computes in, outside autocast."""
        return parameter_dtype(self)

    @property
    def num_spared(self) -> int:
        """How many fewer numbers serve the delta than are trained."""
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
        """Shapes (out_features, r) and (r, in_features): their product is ΔW."""

    def dense(self) -> Tensor:
        left, right = self.pair()
        return left @ right

    def forward(self, x: Tensor) -> Tensor:
        left, right = (factor.to(x.device) for factor in self.pair())
        return x @ right.T @ left.T


class DeltaLinear(LinearTunerLayer):
    """A frozen Linear plus the deltas of its active adapters. A subclass whose deltas are no Delta gives
    get_delta_weight and forward too."""

    def __init__(self, base_layer: nn.Linear):
        super().__init__(base_layer)
        self.register_buffer("unmerged", None, persistent=False)  # the base weight before merging

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """ΔW of one adapter, shape (out_features, in_features)."""
        return self.adapters[adapter_name].dense()

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add the deltas of the named (default: active) adapters to the base weight, rounding once.

        Raises:
            UserError: the base layer would not answer with the merged weight.
            ValueError: safe_merge, and the merged weight is not finite; the layer is left as it was.
        """
        names = [n for n in check_adapters_to_merge(self, adapter_names) if n in self.adapters]
        if not names:
            return
        check_mergeable(self.get_base_layer(), "this layer")
        weight = self.get_base_layer().weight
        original = self.unmerged if self.merged else weight.data
        with torch.no_grad(), without_autocast(weight.device):
            delta = sum(self.get_delta_weight(name).to(weight.device) for name in [*self.merged_adapters, *names])
            merged = (original + delta).to(original.dtype)  # the sum has the wider precision of both
        if safe_merge and not torch.isfinite(merged).all():
            raise broken(names)
        self.unmerged = original
        weight.data = merged
        self.merged_adapters.extend(names)

    def unmerge(self) -> None:
        """Put the base weight back, bit for bit."""
        if self.merged:
            self.get_base_layer().weight.data = self.unmerged
            self.unmerged = None
            self.merged_adapters.clear()

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(..., in_features) → (..., out_features); other arguments are the base layer's."""
        if self.disable_adapters:
            self.unmerge()
        y = self.base_layer(x, *args, **kwargs)
        for name in [] if self.disable_adapters or self.merged else self.active():
            y = y + self._answer(name, x).to(y.dtype)
        return y

    def _answer(self, name: str, x: Tensor) -> Tensor:
        """The delta's answer; the delta itself may be wider than x."""
        delta = self.adapters[name]
        if under_autocast(x.device):
            return delta(x)
        return delta(x.to(delta.dtype))
