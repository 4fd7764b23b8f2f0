"""Adapters that amount to a changed weight and bias of a layer."""

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from surm_bench.adapters.merging import MergeableLayer


class AffineLayer(MergeableLayer):
    """A frozen Linear or LayerNorm whose adapters change weight and bias. Subclasses define combined and forward."""

    merged_parameters = ("weight", "bias")

    def __init__(self, base_layer: nn.Linear | nn.LayerNorm):
        super().__init__(base_layer)
        if isinstance(base_layer, nn.Linear):
            self.out_features, self.in_features = base_layer.out_features, base_layer.in_features
        else:
            self.out_features = self.in_features = base_layer.normalized_shape[-1]
            self.normalized_shape, self.eps = base_layer.normalized_shape, base_layer.eps  # backbones may read both

    @abstractmethod
    def combined(self, adapters: Sequence[nn.Module], weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weight and bias with which the layer alone computes the same output as with these adapters."""

    def merged_values(self, names: Sequence[str], originals: Sequence[Tensor | None]) -> tuple[Tensor, Tensor]:
        weight, bias = originals
        adapters = [self.adapters[name] for name in names]
        like = next(adapters[0].parameters()) if weight is None else weight
        ones, zeros = like.new_ones(self.out_features), like.new_zeros(self.out_features)
        return self.combined(adapters, ones if weight is None else weight, zeros if bias is None else bias)
