"""KAdaptation as a PEFT method: ΔW = alpha·Σ_{i≤n} A_i ⊗ (u_i·v_iᵀ), the n×n matrices A_i shared between layers.

He et al., 2022, arXiv 2203.16329. These details follow the authors' code (eric-ai-lab/PEViT at 8c9ab98, on CLIP's image
encoder): n = 32; A_i = a_i·b_iᵀ of rank one, a_i and b_i uniform in ±0.01; one set of A_i for all query projections and
another set for all value projections; the scale, 160. The paper allows any n×n matrices A_i; with A_i of rank one, ΔW
has rank n at most.

This module differs from that code in six points. In the authors' code:

- u and v both start at zero, so that no gradient ever reaches them (here u is zero and v starts as in Compacter);
- the value's delta is built from the query's u and v, so that the value's own u and v are never used;
- one bias, which is not part of ΔW, is added to both queries and values;
- half of ΔW's entries are dropped in training;
- the query's delta is added after the division by √(head size), so that the delta counts √(head size) times as much;
- the adapter's output is mixed over tokens and images, as LoRA's output is there
  (surm_bench.adapters.methods.lora_pevit).
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from surm_bench.adapters.delta import DeltaLinear, ThinDelta
from surm_bench.adapters.register import register_method
from surm_bench.adapters.site import Shared, Sharing, Site
from surm_bench.adapters.targets import place
from surm_bench.adapters.tuner_config import TunerConfig
from surm_bench.errors import UserError


@dataclass
class KAdaptationConfig(TunerConfig):
    """Configuration of KAdaptation. Without target_modules, query and value projections are adapted."""

    n: int = field(
        default=32, metadata={"help": "number of Kronecker products; it divides both sizes of every layer", "least": 1}
    )
    alpha: float = field(default=160.0, metadata={"help": "the scale of the delta"})

    usual_roles = ("q", "v")

    def build(self, site: Site) -> ThinDelta:
        rules = site.share(lambda: Rules(self.n), among=lambda other: place(other) == place(site.layer_name))
        return KroneckerSum(rules, *site.shape, self)


class Rules(nn.Module):
    """The vectors a_i and b_i: the rows of two matrices, (n, n) each."""

    def __init__(self, n: int):
        super().__init__()
        self.a = nn.Parameter(torch.empty(n, n).uniform_(-0.01, 0.01))
        self.b = nn.Parameter(torch.empty(n, n).uniform_(-0.01, 0.01))


class KroneckerSum(Sharing, ThinDelta):
    """alpha·Σ_i (a_i ⊗ u_i)·(b_i ⊗ v_i)ᵀ; the u_i are the rows of (n, out/n), the v_i of (n, in/n)."""

    def __init__(self, rules: Shared, out_features: int, in_features: int, config: KAdaptationConfig):
        super().__init__(rules)
        n = config.n
        if out_features % n or in_features % n:
            raise UserError(f"n={n} does not divide both sizes of a layer of {out_features}×{in_features}")
        self.scale = config.alpha
        self.u = nn.Parameter(torch.zeros(n, out_features // n))
        self.v = nn.Parameter(glorot_rows(n, in_features // n))

    def pair(self) -> tuple[Tensor, Tensor]:
        left = self.shared.a.to(self.u.device).unsqueeze(2) * self.u.unsqueeze(1)
        right = self.shared.b.to(self.v.device).unsqueeze(2) * self.v.unsqueeze(1)
        return self.scale * left.flatten(1).T, right.flatten(1)


def glorot_rows(n: int, size: int) -> Tensor:
    """Draw (n, size) as Compacter's code does: Glorot-uniform with gain √2, each row treated as a one-column matrix."""
    bound = math.sqrt(2) * math.sqrt(6 / (size + 1))
    return torch.empty(n, size).uniform_(-bound, bound)


register_method("kadaptation", KAdaptationConfig, DeltaLinear)
