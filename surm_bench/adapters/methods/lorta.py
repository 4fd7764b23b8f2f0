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
from torch import Tensor, nn

from surm_bench.adapters.delta import DeltaLinear, ThinDelta
from surm_bench.adapters.register import register_method
from surm_bench.adapters.roles import layer_of
from surm_bench.adapters.site import Shared, Sharing, Site
from surm_bench.adapters.targets import is_target, place
from surm_bench.adapters.tuner_config import TunerConfig
from surm_bench.adapters.tuner_layer import tuner_layers
from surm_bench.errors import UserError


@dataclass
class LortaConfig(TunerConfig):
    """Configuration of LoRTA. Without target_modules, q, k, v and o are adapted."""

    r: int = field(default=8, metadata={"help": "rank of the tensor", "least": 1})
    alpha: float = field(default=8.0, metadata={"help": "the scale is alpha/r; the authors' alpha is 1"})
    heads: int | None = field(
        default=None, metadata={"help": "number of attention heads; None: the model's", "least": 1}
    )

    usual_roles = ("q", "k", "v", "o")

    def build(self, site: Site) -> ThinDelta:
        width, split = site.shape
        heads = site.heads(self.heads, split)
        shared = site.share(lambda: Factors(width, heads, split // heads, self._targets(site.model), self.r))
        factors = shared.module
        if (len(factors.a), len(factors.heads) * len(factors.b)) != (width, split):
            raise UserError(
                f"{site.layer_name}, of {width}×{split}, has another size than the first layer: one tensor holds "
                "the updates of all layers, so target_modules has to name layers of one size"
            )
        return Slice(shared, *factors.positions[site.layer_name], self.alpha / self.r)

    def _targets(self, model: nn.Module) -> list[str]:
        """Return the names of the target modules outside of adapters, which a regular expression may match too."""
        inside = tuple(f"{layer}." for layer in tuner_layers(model))
        outside = (name for name, _ in model.named_modules() if name and not name.startswith(inside))
        return [name for name in outside if is_target(self, name)]


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

    def __init__(self, factors: Shared, layer: int, matrix: int, scale: float):
        super().__init__(factors)
        self.layer, self.matrix, self.scale = layer, matrix, scale

    @property
    def dtype(self) -> torch.dtype:
        return self.shared.a.dtype

    def pair(self) -> tuple[Tensor, Tensor]:
        f = self.shared
        split = (f.heads.unsqueeze(1) * f.b).flatten(0, 1)  # (H·d/H, r)
        weights = f.layers.select(0, self.layer) * f.matrices.select(0, self.matrix)
        return self.scale * weights * f.a, split.T


register_method("lorta", LortaConfig, DeltaLinear)
