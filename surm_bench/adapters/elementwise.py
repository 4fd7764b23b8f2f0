"""Adapters that scale and shift the output of a layer element by element: y ← (1 + scale)⊙y + shift."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from surm_bench.adapters.affine import AffineLayer
from surm_bench.adapters.base_layer import kind
from surm_bench.errors import UserError


class Elementwise(nn.Module):
    """scale⊙y + shift on y of shape (..., features)."""

    def __init__(self, features: int):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, y: Tensor) -> Tensor:
        return self.scale * y + self.bias


class ElementwiseLayer(AffineLayer):
    """A frozen Linear or LayerNorm with output y, followed by the sum of y and the active adapters' outputs for y."""

    @staticmethod
    def check_base(module: nn.Module, name: str, model: nn.Module) -> nn.Module:
        """Return the module if it is a Linear or a norm over the last dimension alone; raise UserError otherwise."""
        if not isinstance(module, nn.Linear | nn.LayerNorm):
            raise UserError(f"target module {name!r} is a {kind(module)}, not a Linear or LayerNorm")
        if isinstance(module, nn.LayerNorm) and (len(module.normalized_shape) > 1 or not _is_last(module)):
            raise UserError(
                f"target module {name!r} is a {kind(module)} over {tuple(module.normalized_shape)}: an adapter takes a "
                "norm over the last dimension alone"
            )
        return module

    def combined(self, adapters: Sequence[nn.Module], weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        factor = 1 + sum(adapter.scale for adapter in adapters)
        shift = sum(adapter.bias for adapter in adapters)
        return factor.reshape(-1, *[1] * (weight.dim() - 1)) * weight, factor * bias + shift

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Compute the output; shapes and arguments are those of the base layer."""
        names = self.unmerged_names()
        h = y = self.base_layer(x, *args, **kwargs)
        for name in names:
            y = y + self.adapters[name](h).to(y.dtype)
        return y


@torch.no_grad()
def _is_last(norm: nn.LayerNorm) -> bool:
    """Return whether the norm takes features in the last dimension. Norms of feature maps take the second dimension."""
    if type(norm).forward is nn.LayerNorm.forward:
        return True
    like = next(norm.parameters(), torch.empty(0))
    try:
        return norm(like.new_zeros(2, *norm.normalized_shape)).shape == (2, *norm.normalized_shape)
    except Exception:  # the norm exchanges dimensions that this input does not have
        return False
