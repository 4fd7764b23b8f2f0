"""Adapters that amount to a changed weight and bias of a layer. Merging can be undone exactly, bit for bit."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from peft.tuners.tuners_utils import check_adapters_to_merge
from torch import Tensor, nn

from surm_bench.adapters.base_layer import check_mergeable
from surm_bench.adapters.tuner_layer import TunerLayer, broken
from surm_bench.structured.precision import without_autocast


class AffineLayer(TunerLayer):
    """A frozen Linear or LayerNorm whose adapters change weight and bias. Subclasses define combined and forward."""

    merged_parameters = ("weight", "bias")

    def __init__(self, base_layer: nn.Linear | nn.LayerNorm):
        super().__init__(base_layer)
        if isinstance(base_layer, nn.Linear):
            self.out_features, self.in_features = base_layer.out_features, base_layer.in_features
        else:
            self.out_features = self.in_features = base_layer.normalized_shape[-1]
            self.normalized_shape, self.eps = base_layer.normalized_shape, base_layer.eps  # backbones may read both
        self.register_buffer("unmerged_weight", None, persistent=False)  # the weight before merging
        self.register_buffer("unmerged_bias", None, persistent=False)

    @abstractmethod
    def combined(self, adapters: Sequence[nn.Module], weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weight and bias with which the layer alone computes the same output as with these adapters."""

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Merge the named (default: active) adapters into weight and bias, rounding once, also under autocast.

        Raises:
            UserError: the base layer's output would not follow from the merged weight and bias.
            ValueError: safe_merge is set and the merged values are not finite; the layer is unchanged.
        """
        names = [n for n in check_adapters_to_merge(self, adapter_names) if n in self.adapters]
        if not names:
            return
        base = self.get_base_layer()
        check_mergeable(base, "this layer")
        if self.merged:
            weight, bias = self.unmerged_weight, self.unmerged_bias
        else:
            weight, bias = (None if p is None else p.data for p in (base.weight, base.bias))
        adapters = [self.adapters[n] for n in [*self.merged_adapters, *names]]
        like = next(adapters[0].parameters()) if weight is None else weight
        ones, zeros = like.new_ones(self.out_features), like.new_zeros(self.out_features)
        with torch.no_grad(), without_autocast(like.device):
            merged, moved = self.combined(adapters, ones if weight is None else weight, zeros if bias is None else bias)
        if safe_merge and not (torch.isfinite(merged).all() and torch.isfinite(moved).all()):
            raise broken(names)
        self.unmerged_weight, self.unmerged_bias = weight, bias
        self._assign(merged.to(like.dtype), moved.to(like.dtype))
        self.merged_adapters.extend(names)

    def unmerge(self) -> None:
        """Restore weight and bias to their values before merging, bit for bit."""
        if self.merged:
            self._assign(self.unmerged_weight, self.unmerged_bias)
            self.unmerged_weight = self.unmerged_bias = None
            self.merged_adapters.clear()

    def _assign(self, *values: Tensor | None) -> None:
        """Set the values of weight and bias.

        The Parameter objects are kept, because an optimiser may train them, unless the layer has no weight or bias.
        """
        base = self.get_base_layer()
        for name, value in zip(self.merged_parameters, values, strict=True):
            parameter = getattr(base, name)
            if value is None or parameter is None:
                setattr(base, name, None if value is None else nn.Parameter(value, requires_grad=False))
            else:
                parameter.data = value

    def unmerged_names(self) -> list[str]:
        """Return the adapters that forward has to apply. Adapters that are merged but disabled are unmerged first."""
        if self.disable_adapters:
            self.unmerge()
        return [] if self.disable_adapters or self.merged else self.active()
