"""Compacter as a PEFT method: h ← h + W_up·gelu(W_down·h + b_down) + b_up after a Linear, where each W is
Σ_{i≤n} A_i ⊗ (s_i·t_iᵀ) and all layers share the n×n matrices A_i.

Karimi Mahabadi et al., 2021, arXiv 2106.04647. The initialisation follows the authors' code and its compacter.json
(rabeehk/compacter): A ~ N(0, 1e-4²), s and t Glorot-uniform with gain √2, so that the adapter starts close to zero. The
authors' code also trains the backbone's LayerNorms and uses the tanh form of GELU. Here only the adapter is trained,
with the exact form of GELU.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from surm_bench.adapters.methods.kadaptation import glorot_rows
from surm_bench.adapters.register import register_method
from surm_bench.adapters.residual_layer import Branch, ResidualLinear
from surm_bench.adapters.site import Shared, Sharing, Site
from surm_bench.adapters.tuner_config import TunerConfig
from surm_bench.errors import UserError

INIT_STD = 1e-4


@dataclass
class CompacterConfig(TunerConfig):
    """Configuration of Compacter. Without target_modules, adapters follow the attention's and the MLP's output
    projections."""

    n: int = field(
        default=4, metadata={"help": "number of Kronecker products; it divides width and bottleneck", "least": 1}
    )
    reduction: int = field(default=16, metadata={"help": "the bottleneck is the layer's width over this", "least": 1})

    usual_roles = ("o", "fc2")

    def build(self, site: Site) -> Branch:
        return CompactBottleneck(site.share(lambda: Rules(self.n)), site.layer.out_features, self)


class Rules(nn.Module):
    """The matrices A_i, (n, n, n), which all layers share."""

    def __init__(self, n: int):
        super().__init__()
        self.a = nn.Parameter(INIT_STD * torch.randn(n, n, n))


class Projection(nn.Module):
    """x ↦ Σ_i (A_i ⊗ s_i·t_iᵀ)·x + bias; the s_i are the rows of (n, out/n), the t_i of (n, in/n)."""

    def __init__(self, in_features: int, out_features: int, n: int):
        super().__init__()
        self.s = nn.Parameter(glorot_rows(n, out_features // n))
        self.t = nn.Parameter(glorot_rows(n, in_features // n))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor, a: Tensor) -> Tensor:
        weight = torch.einsum("ijk,ip,iq->jpkq", a, self.s, self.t).flatten(2).flatten(0, 1)
        return nn.functional.linear(x, weight, self.bias)


class CompactBottleneck(Sharing, Branch):
    """The bottleneck whose output is added to h, of shape (..., features)."""

    def __init__(self, rules: Shared, features: int, config: CompacterConfig):
        super().__init__(rules)
        width = features // config.reduction
        if width < 1 or width % config.n or features % config.n:
            raise UserError(
                f"n={config.n} does not divide both a layer's width, {features}, and its bottleneck, "
                f"{features}/{config.reduction}"
            )
        self.down = Projection(features, width, config.n)
        self.up = Projection(width, features, config.n)

    def forward(self, h: Tensor) -> Tensor:
        a = self.shared.a.to(self.down.s)
        return self.up(nn.functional.gelu(self.down(h, a)), a)


register_method("compacter", CompacterConfig, ResidualLinear)
