"""The Hadamard adapter as a PEFT method: y ← (1 + scale)⊙y + shift behind self-attention, both zero at the start.

Chen et al., 2023, arXiv 2407.11033: a weight and a bias vector act element by element on the output of self-attention,
before the residual sum and its norm, and the norm that follows is trained with them. With one norm a layer this is
4·d parameters a layer, 36,864 on BERT-base, about the 0.033 % that the paper's abstract states; only summaries of the
paper could be consulted, which neither say on which side of the output projection the vectors are (here: behind it) nor
name the norm. It is trained by two vectors behind it, which reach the same functions as its own do. The paper trains
the classifier alone beforehand, in a stage of its own; here both are trained at once, as with every other method.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft.utils import PeftType
from torch import Tensor, nn

from surm_bench.adapters.affine import AffineLayer
from surm_bench.adapters.base_layer import kind
from surm_bench.adapters.tuner import LinearTuner, TunerConfig, register
from surm_bench.errors import UserError


@dataclass
class HadamardConfig(TunerConfig):
    """Configuration of the Hadamard adapter.

    Without target_modules it goes behind the attention's output projection and the norm that follows.
    """

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = PeftType.HADAMARD

    def default_roles(self) -> tuple[str, ...]:
        return ("o", "attention_norm")


class Elementwise(nn.Module):
    """scale⊙y + shift on y of shape (..., features)."""

    def __init__(self, features: int):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, y: Tensor) -> Tensor:
        return self.scale * y + self.bias


class HadamardLayer(AffineLayer):
    """A frozen Linear or LayerNorm and, behind it, the sum of y and the active adapters' answers to y."""

    adapter_layer_names = ("hadamard_adapter",)

    def update_layer(self, adapter_name: str, config: HadamardConfig) -> None:
        self.add(adapter_name, Elementwise(self.out_features), config)

    def combined(self, adapters: Sequence[nn.Module], weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        factor = 1 + sum(adapter.scale for adapter in adapters)
        shift = sum(adapter.bias for adapter in adapters)
        return factor.reshape(-1, *[1] * (weight.dim() - 1)) * weight, factor * bias + shift

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The base layer's shapes and arguments."""
        names = self.unmerged_names()
        h = y = self.base_layer(x, *args, **kwargs)
        for name in names:
            y = y + self.adapters[name](h).to(y.dtype)
        return y


def check_layer(module: nn.Module, name: str, model: nn.Module) -> nn.Module:
    """The module, if the last dimension of its output has one feature for each scale; raises UserError otherwise."""
    if not isinstance(module, nn.Linear | nn.LayerNorm):
        raise UserError(f"target module {name!r} is a {kind(module)}, not a Linear or LayerNorm")
    if isinstance(module, nn.LayerNorm) and (len(module.normalized_shape) > 1 or not _is_last(module)):
        raise UserError(
            f"target module {name!r} is a {kind(module)} over {tuple(module.normalized_shape)}: an adapter takes a "
            "norm over the last dimension alone"
        )
    return module


@torch.no_grad()
def _is_last(norm: nn.LayerNorm) -> bool:
    """Whether the norm takes features in its last dimension; those of feature maps have them in the second."""
    if type(norm).forward is nn.LayerNorm.forward:
        return True
    like = next(norm.parameters(), torch.empty(0))
    try:
        return norm(like.new_zeros(2, *norm.normalized_shape)).shape == (2, *norm.normalized_shape)
    except Exception:  # it has no two dimensions to exchange
        return False


class HadamardModel(LinearTuner):
    """PEFT's model class of the method; made by ``get_peft_model(model, HadamardConfig(...))``."""

    prefix = "hadamard_"
    tuner_layer_cls = HadamardLayer
    check_layer = staticmethod(check_layer)


register("hadamard", HadamardConfig, HadamardModel)
