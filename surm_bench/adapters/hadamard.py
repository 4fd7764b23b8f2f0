"""The Hadamard adapter as a PEFT method: y ← (1 + scale)⊙y + shift behind self-attention, both zero at the start.

Chen et al., 2023, arXiv 2407.11033: a weight and a bias vector act element by element on the output of self-attention,
before the residual sum and its norm, and the norm that follows is trained with them. With one norm a layer this is
4·d parameters a layer, 36,864 on BERT-base, about the 0.033 % that the paper's abstract states; only summaries of the
paper could be consulted, which neither say on which side of the output projection the vectors are (here: behind it) nor
name the norm. It is trained by two vectors behind it, which reach the same functions as its own do. The paper trains
the classifier alone beforehand, in a stage of its own; here both are trained at once, as with every other method.
"""

from dataclasses import dataclass

import torch
from peft.tuners.tuners_utils import check_adapters_to_merge
from peft.utils import PeftType
from torch import Tensor, nn

from surm_bench.adapters.tuner import LinearTuner, TunerConfig, TunerLayer, broken, register
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


class HadamardLayer(TunerLayer):
    """A frozen Linear or LayerNorm and, behind it, the sum of y and the active adapters' answers to y."""

    adapter_layer_names = ("hadamard_adapter",)

    def __init__(self, base_layer: nn.Linear | nn.LayerNorm):
        super().__init__(base_layer)
        self.out_features = len(base_layer.weight)
        self.in_features = base_layer.weight.shape[-1]
        self.register_buffer("unmerged_weight", None, persistent=False)  # as it was before merging
        self.register_buffer("unmerged_bias", None, persistent=False)

    def update_layer(self, adapter_name: str, config: HadamardConfig) -> None:
        self.add(adapter_name, Elementwise(self.out_features), config)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Put the named (default: active) adapters into weight and bias, rounding once.

        Raises:
            ValueError: safe_merge, and the merged values are not finite; the layer is left as it was.
        """
        names = [n for n in check_adapters_to_merge(self, adapter_names) if n in self.hadamard_adapter]
        if not names:
            return
        base = self.get_base_layer()
        if self.merged:
            weight, bias = self.unmerged_weight, self.unmerged_bias
        else:
            weight, bias = base.weight.data, None if base.bias is None else base.bias.data
        adapters = [self.hadamard_adapter[name] for name in [*self.merged_adapters, *names]]
        with torch.no_grad():
            factor = 1 + sum(adapter.scale for adapter in adapters)
            shift = sum(adapter.bias for adapter in adapters)
            merged = factor.reshape(-1, *[1] * (weight.dim() - 1)) * weight
            moved = shift if bias is None else factor * bias + shift
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

    def forward(self, x: Tensor) -> Tensor:
        """The base layer's shapes."""
        if self.disable_adapters:
            self.unmerge()
        h = y = self.base_layer(x)
        for name in [] if self.disable_adapters or self.merged else self.active():
            y = y + self.hadamard_adapter[name](h).to(y.dtype)
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
