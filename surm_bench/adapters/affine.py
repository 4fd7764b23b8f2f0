"""Adapters that come down to another weight and another bias of a layer, with merging that can be undone to the bit."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from peft.tuners.tuners_utils import check_adapters_to_merge
from torch import Tensor, nn

from surm_bench.adapters.tuner import TunerLayer, broken


class AffineLayer(TunerLayer):
    """A frozen Linear or LayerNorm with such adapters. Subclasses give combined and forward."""

    def __init__(self, base_layer: nn.Linear | nn.LayerNorm):
        super().__init__(base_layer)
        self.out_features, self.in_features = len(base_layer.weight), base_layer.weight.shape[-1]
        self.register_buffer("unmerged_weight", None, persistent=False)  # as it was before merging
        self.register_buffer("unmerged_bias", None, persistent=False)

    @abstractmethod
    def combined(self, adapters: Sequence[nn.Module], weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """The weight and the bias with which the layer alone answers as it does with these adapters."""

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Put the named (default: active) adapters into weight and bias, rounding once.

        Raises:
            ValueError: safe_merge, and the merged values are not finite; the layer is left as it was.
        """
        names = [n for n in check_adapters_to_merge(self, adapter_names) if n in self.adapters]
        if not names:
            return
        base = self.get_base_layer()
        if self.merged:
            weight, bias = self.unmerged_weight, self.unmerged_bias
        else:
            weight, bias = base.weight.data, None if base.bias is None else base.bias.data
        with torch.no_grad():
            merged, moved = self.combined([self.adapters[n] for n in [*self.merged_adapters, *names]], weight, bias)
        if safe_merge and not (torch.isfinite(merged).all() and torch.isfinite(moved).all()):
            raise broken(names)
        self.unmerged_weight, self.unmerged_bias = weight, bias
        base.weight.data, base.bias = merged.to(weight.dtype), nn.Parameter(moved.to(weight.dtype), requires_grad=False)
        self.merged_adapters.extend(names)

    def unmerge(self) -> None:
        """Put weight and bias back, bit for bit."""
        if self.merged:
            base, bias = self.get_base_layer(), self.unmerged_bias
            base.weight.data = self.unmerged_weight
            base.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
            self.unmerged_weight = self.unmerged_bias = None
            self.merged_adapters.clear()

    def unmerged_names(self) -> list[str]:
        """The adapters that forward has to apply; unmerges those that are merged and disabled."""
        if self.disable_adapters:
            self.unmerge()
        return [] if self.disable_adapters or self.merged else self.active()
