"""The Hadamard adapter as a PEFT method: y ← (1 + scale)⊙y + shift after self-attention, both zero at the start.

Chen et al., 2023, arXiv 2407.11033: a weight and a bias vector act element by element on the output of self-attention,
before the residual sum and its norm, and the norm that follows is trained with these vectors. With one norm per layer
this gives 4·d parameters per layer, 36,864 on BERT-base, about the 0.033 % that the paper's abstract states. Only
summaries of the paper could be consulted. They do not say on which side of the output projection the vectors are (here:
after the projection) and do not name the norm. Here the norm is trained through two vectors after it, which reach the
same functions as the norm's own weight and bias. The paper first trains the classifier alone, in a separate stage; here
classifier and adapter are trained together, as with every other method.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from surm_bench.adapters.affine import AffineLayer
from surm_bench.adapters.base_layer import kind
from surm_bench.adapters.method import register_method
from surm_bench.adapters.site import Site
from surm_bench.adapters.tuner_config import TunerConfig
from surm_bench.errors import UserError


@dataclass
class HadamardConfig(TunerConfig):
    """Configuration of the Hadamard adapter.

    Without target_modules, adapters follow the attention's output projection and the norm after this projection.
    """

    usual_roles = ("o", "attention_norm")

    def build(self, site: Site) -> nn.Module:
        return Elementwise(site.layer.out_features)


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


register_method("hadamard", HadamardConfig, ElementwiseLayer)
