"""LoRTA as a PEFT method: one tensor of rank r holds the updates of all layers, heads and attention matrices.

The update of matrix m in layer l is a slice of a CP decomposition, with its inputs split into H heads of size d/H:
ΔW[i, h·d/H + j] = (alpha/r)·Σ_ρ A[i,ρ]·B[j,ρ]·C_heads[h,ρ]·C_layers[l,ρ]·C_matrices[m,ρ]
with five factors for the whole model: r·(d + d/H + H + L + M) parameters (Hounie et al., 2024, arXiv 2410.04060).

These details follow the authors' code for GLUE (ihounie/lorta, nlu/src/peft/tuners/lorta): the layout, which is the
same for q, k, v and o; alpha = 1; the initialisation, B zero, A uniform in ±1/√r and the three C uniform in ±√(6/r).
If only some of the four matrices are adapted, C_matrices has rows for the adapted matrices alone; the authors' code
always has four rows.
"""

import math
from dataclasses import dataclass, field

import torch
from peft.utils import PeftType
from torch import Tensor, nn

from surm_bench.adapters.delta import DeltaLinear, ThinDelta
from surm_bench.adapters.roles import attention_heads, check_not_fused, layer_of
from surm_bench.adapters.sharing import Sharing, find_shared
from surm_bench.adapters.targets import is_target, place
from surm_bench.adapters.tuner import LinearTuner, TunerConfig, check_positive, register, tuner_layers
from surm_bench.errors import UserError


@dataclass
class LortaConfig(TunerConfig):
    """Configuration of LoRTA. Without target_modules, q, k, v and o are adapted."""

    r: int = field(default=8, metadata={"help": "rank of the tensor"})
    alpha: float = field(default=8.0, metadata={"help": "the scale is alpha/r; the authors' alpha is 1"})
    heads: int | None = field(default=None, metadata={"help": "number of attention heads; None: the model's"})

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = PeftType.LORTA
        check_positive(self, "r")

    def default_roles(self) -> tuple[str, ...]:
        return ("q", "k", "v", "o")


class Factors(nn.Module):
    """The five factors, which all layers share. ``positions`` maps a layer's name to its rows in the last two."""

    def __init__(self, width: int, heads: int, head_size: int, names: list[str], r: int):
        super().__init__()
        layers, matrices = (list(dict.fromkeys(map(kind, names))) for kind in (layer_of, place))
        self.positions = {name: (layers.index(layer_of(name)), matrices.index(place(name))) for name in names}
        self.a = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(width, r), a=math.sqrt(5)))
        self.b = nn.Parameter(torch.zeros(head_size, r))
        self.heads = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(heads, r)))
        self.layers = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(len(layers), r)))
        self.matrices = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(len(matrices), r)))


class Slice(Sharing, ThinDelta):
    """The update of one matrix in one layer: A·diag(c)·Kᵀ, where K is the Khatri-Rao product of heads and B."""

    def __init__(self, factors: Factors, owner: bool, layer: int, matrix: int, scale: float):
        super().__init__(factors, owner)
        self.layer, self.matrix, self.scale = layer, matrix, scale

    @property
    def dtype(self) -> torch.dtype:
        return self.shared.a.dtype

    def pair(self) -> tuple[Tensor, Tensor]:
        f = self.shared
        split = (f.heads.unsqueeze(1) * f.b).flatten(0, 1)  # (H·d/H, r)
        weights = f.layers.select(0, self.layer) * f.matrices.select(0, self.matrix)
        return self.scale * weights * f.a, split.T


class LortaLinear(DeltaLinear):
    adapter_layer_names = ("lorta_delta",)

    def update_layer(self, adapter_name: str, config: LortaConfig, delta: Slice) -> None:
        self.add(adapter_name, delta, config)


class LortaModel(LinearTuner):
    """PEFT's model class of the method; made by ``get_peft_model(model, LortaConfig(...))``."""

    prefix = "lorta_"
    tuner_layer_cls = LortaLinear

    def _add_adapter(self, layer: LortaLinear, adapter_name: str, config: LortaConfig, name: str) -> None:
        width, split = layer.out_features, layer.in_features
        check_not_fused(name, split, width)
        heads = config.heads or attention_heads(self.model.modules())
        if split % heads:
            raise UserError(f"{heads} heads do not divide a layer of {layer.out_features}×{layer.in_features}")
        factors = find_shared(self, adapter_name)
        owner = factors is None
        if owner:
            inside = tuple(f"{layer}." for layer in tuner_layers(self.model))  # an expression may match inside them
            outside = (n for n, _ in self.model.named_modules() if n and not n.startswith(inside))
            names = [n for n in outside if is_target(config, n)]
            factors = Factors(width, heads, split // heads, names, config.r)
        if (len(factors.a), len(factors.heads) * len(factors.b)) != (width, split):
            raise UserError(f"one tensor cannot hold updates of several sizes: {name} is not of the first layer's size")
        scale = config.alpha / config.r
        layer.update_layer(adapter_name, config, Slice(factors, owner, *factors.positions[name], scale))


register("lorta", LortaConfig, LortaModel)
