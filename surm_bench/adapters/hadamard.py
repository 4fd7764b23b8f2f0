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

import torch
from peft.utils import PeftType
from torch import Tensor, nn

from surm_bench.adapters.affine import AffineLayer
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

    def combined(self, adapters: Sequence[nn.Module], weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        factor = 1 + sum(adapter.scale for adapter in adapters)
        shift = sum(adapter.bias for adapter in adapters)
        merged = factor.reshape(-1, *[1] * (weight.dim() - 1)) * weight
        return merged, shift if bias is None else factor * bias + shift

    def forward(self, x: Tensor) -> Tensor:
        """The base layer's shapes."""
        names = self.unmerged_names()
        h = y = self.base_layer(x)
        for name in names:
            y = y + self.adapters[name](h).to(y.dtype)
        return y


def check_layer(module: nn.Module, name: str, model: nn.Module) -> nn.Module:
    """The module, if it has one weight and one bias for each feature of its output; raises UserError otherwise."""
    if not isinstance(module, nn.Linear | nn.LayerNorm):
        raise UserError(f"target module {name!r} is a {type(module).__name__}, not a Linear or LayerNorm")
    return module


class HadamardModel(LinearTuner):
    """PEFT's model class of the method; made by ``get_peft_model(model, HadamardConfig(...))``."""

    prefix = "hadamard_"
    tuner_layer_cls = HadamardLayer
    check_layer = staticmethod(check_layer)


register("hadamard", HadamardConfig, HadamardModel)
