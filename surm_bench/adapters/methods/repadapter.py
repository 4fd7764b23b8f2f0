"""RepAdapter as a PEFT method: x ← x + scale·(B·(A·x + a) + b) before attention and before the MLP, B in groups.

Luo et al., 2023, arXiv 2302.08106. Width, groups, scale, dropout (between A and B) and initialisation (A
Xavier-uniform, all others zero) follow the authors' code (luogen1996/RepAdapter). The adapter has no activation, so
that it can be merged into the Linears after it: q, k and v of a layer share one adapter, fc1 has its own adapter. Here
dropout is drawn separately for each of these Linears; the authors' code draws dropout once for q, k and v.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from surm_bench.adapters.affine import AffineLayer
from surm_bench.adapters.register import register_method
from surm_bench.adapters.site import Sharing, Site
from surm_bench.adapters.targets import role_targets
from surm_bench.adapters.tuner_config import TunerConfig
from surm_bench.errors import UserError
from surm_bench.structured.precision import under_autocast


@dataclass
class RepAdapterConfig(TunerConfig):
    """Configuration of RepAdapter. Without target_modules, adapters go before q, k and v, and before fc1."""

    bottleneck: int = field(default=8, metadata={"help": "width of the bottleneck", "least": 1})
    groups: int = field(
        default=2, metadata={"help": "number of groups of B; divides the bottleneck and the input", "least": 1}
    )
    scale: float = field(default=1.0, metadata={"help": "factor on the adapter's output"})
    dropout: float = field(
        default=0.1, metadata={"help": "probability of dropout inside the bottleneck", "least": 0, "below": 1}
    )

    usual_roles = ("q", "k", "v", "fc1")

    def __post_init__(self):
        super().__post_init__()
        if self.bottleneck % self.groups:
            raise UserError(f"groups={self.groups} does not divide the bottleneck's width, {self.bottleneck}")

    def build(self, site: Site) -> Sharing:
        def same_input(other: str) -> bool:
            return parent(other) == parent(name) and {name, other} <= attention_inputs(site.model)

        name = site.layer_name
        return Before(site.share(lambda: LinearBottleneck(site.layer.in_features, self), same_input))


class LinearBottleneck(nn.Module):
    """scale·(B·dropout(A·x + a) + b) on x of shape (..., features); B is zero at the start."""

    def __init__(self, features: int, config: RepAdapterConfig):
        super().__init__()
        groups = config.groups
        if features % groups:
            raise UserError(f"groups={groups} does not divide a layer's input, {features}")
        self.scale = config.scale
        self.down = nn.Linear(features, config.bottleneck)
        self.dropout = nn.Dropout(config.dropout)
        self.up = nn.Parameter(torch.zeros(groups, features // groups, config.bottleneck // groups))
        self.bias = nn.Parameter(torch.zeros(features))
        nn.init.xavier_uniform_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.dropout(self.down(x)).unflatten(-1, (len(self.up), -1))
        return self.scale * (torch.einsum("...gr,gor->...go", narrow, self.up).flatten(-2) + self.bias)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return the bottleneck without dropout as a matrix, (features, features), and a shift, (features,)."""
        up = torch.block_diag(*self.up)
        return self.scale * up @ self.down.weight, self.scale * (up @ self.down.bias + self.bias)


class Before(Sharing):
    """The bottleneck before a Linear. Other Linears with the same input use the same bottleneck."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the bottleneck's output for x."""
        bias = self.shared.bias
        dtype = x.dtype if under_autocast(x.device) else bias.dtype
        return self.shared(x.to(bias.device, dtype)).to(x)


class ReparametrisedLinear(AffineLayer):
    """A frozen Linear whose input is the sum of x and the active adapters' outputs for x."""

    def combined(self, adapters: Sequence[Before], weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        matrices, shifts = zip(*(adapter.shared.affine() for adapter in adapters), strict=True)
        precise = weight.to(torch.promote_types(weight.dtype, matrices[0].dtype))
        return precise + precise @ sum(matrices).to(precise), bias + precise @ sum(shifts).to(precise)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(..., in_features) → (..., out_features); the other arguments go to the base layer."""
        h = x
        for name in self.unmerged_names():
            h = h + self.adapters[name](x)
        return self.base_layer(h, *args, **kwargs)


def attention_inputs(model: nn.Module) -> set[str]:
    """Return the names of all q, k and v projections.

    In an architecture without roles the set is empty, and every Linear has its own adapter.
    """
    try:
        return set(role_targets(model, ("q", "k", "v")))
    except UserError:
        return set()


def parent(name: str) -> str:
    """Return the name of the parent module. q, k and v of one layer have the same parent."""
    return name.rpartition(".")[0]


register_method("repadapter", RepAdapterConfig, ReparametrisedLinear)
