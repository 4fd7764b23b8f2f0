"""Residual adapters as a PEFT method: h ← h + f(h) after a Linear layer, where f is zero at the start.

f is structured, act(S·dropout(h)) + bias (SURM's released code: activation first, then bias), or the classic
bottleneck, W_up·act(W_down·dropout(h) + b_down) + b_up (Houlsby et al., 2019; Pfeiffer et al., 2021).

The adapter follows the projection directly, so that it is the same on every backbone. SURM's released code differs:

- The backbone's own dropout (0.1 in BERT) comes between projection and adapter. Here dropout follows the adapter and
  drops h + f(h). In evaluation, and in a backbone without dropout, there is no difference.
- A layer of BERT has two adapters, and the requested dropout reaches only the adapter after attention. Here both
  adapters get this dropout.
- The script for BERT freezes the pooler. Here the pooler is part of the head and trained.
- A Toeplitz adapter has one symmetric matrix T(a⊙b). The code itself says that the paper's adapter is the product,
  which is symmetric_toeplitz here; ``toeplitz`` contains the code's adapter.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from surm_bench.adapters.options import build_structure, check_route, check_structure, merge_options
from surm_bench.adapters.register import register_method
from surm_bench.adapters.residual_layer import Branch, ResidualLinear
from surm_bench.adapters.site import Site
from surm_bench.adapters.tuner_config import TunerConfig
from surm_bench.errors import UserError, unknown
from surm_bench.structured.residual import residual

PLACEMENTS = {"houlsby": ("o", "fc2"), "pfeiffer": ("fc2",)}  # after attention and MLP, or after the MLP alone
ACTIVATIONS = {"gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "relu": nn.ReLU, "identity": nn.Identity}
RESIDUAL_INIT_STD = 0.02  # of the factor that does not start at zero (SURM's released code)


@dataclass
class ResidualAdapterConfig(TunerConfig):
    """Configuration of a residual adapter. Set exactly one of structure and bottleneck.

    Without target_modules, the placement chooses the layers: houlsby the output projections of attention and MLP,
    pfeiffer the MLP's output projection alone.
    """

    structure: str | None = field(default=None, metadata={"help": "as SurmConfig's"})
    bottleneck: int | None = field(default=None, metadata={"help": "width m of a classic bottleneck", "least": 1})
    placement: str = field(default="houlsby", metadata={"help": "houlsby or pfeiffer"})
    activation: str = field(default="gelu", metadata={"help": "gelu, silu, tanh, identity, or relu (bottleneck only)"})
    dropout: float = field(
        default=0.0, metadata={"help": "probability of dropout on the adapter's input", "least": 0, "below": 1}
    )
    r: int | None = field(default=None, metadata={"help": "rank of kronecker, ldr and low_rank; None: their default"})
    factor: tuple[int, int] | None = field(default=None, metadata={"help": "shape of kronecker's A, instead of r"})
    route: str = field(default="auto", metadata={"help": "auto, dense, or the structure's own"})
    options: dict[str, Any] | None = field(default=None, metadata={"help": "any options of the structure, by name"})

    def __post_init__(self):
        super().__post_init__()
        if (self.structure is None) == (self.bottleneck is None):
            raise UserError(
                f"structure={self.structure!r} with bottleneck={self.bottleneck!r} is not possible: a residual "
                "adapter has exactly one of them"
            )
        if self.placement not in PLACEMENTS:
            raise unknown("placement", self.placement, PLACEMENTS)
        if self.activation not in ACTIVATIONS:
            raise unknown("activation", self.activation, ACTIVATIONS)
        if self.structure is None:
            if self.route != "auto":
                raise UserError(f"route={self.route!r} is not possible with a bottleneck: only structures have routes")
            if given := self.structure_options():
                names = ", ".join(f"{name}={value!r}" for name, value in given.items())
                raise UserError(f"{names} is not possible with a bottleneck: only structures have options")
            return
        check_structure(self.structure, self.structure_options())
        check_route(self.structure, self.route)
        if self.activation == "relu":
            raise UserError("activation 'relu' has no gradient at zero, where a structured adapter starts: choose from "
                            + ", ".join(sorted(set(ACTIVATIONS) - {"relu"})))  # fmt: skip

    def structure_options(self) -> dict[str, Any]:
        """Return the arguments for the structure's constructor."""
        return merge_options(self.options, r=self.r, factor=self.factor)

    def default_roles(self) -> tuple[str, ...]:
        return PLACEMENTS[self.placement]

    def build(self, site: Site) -> nn.Module:
        kind = Bottleneck if self.structure is None else StructuredResidual
        return kind(site.layer.out_features, self)


class StructuredResidual(nn.Module):
    """act(S·dropout(h)) + bias on h of shape (..., features). S and bias, and so the output, are zero at the start."""

    def __init__(self, features: int, config: ResidualAdapterConfig):
        super().__init__()
        options = config.structure_options()
        self.dropout = nn.Dropout(config.dropout)
        self.matrix = build_structure(config.structure, features, features, options, init_std=RESIDUAL_INIT_STD)
        self.route = config.route
        self.activation = ACTIVATIONS[config.activation]()
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, h: Tensor) -> Tensor:
        return self.activation(self.matrix(self.dropout(h), self.route)) + self.bias.to(h.dtype)

    def plus_output(self, y: Tensor, h: Tensor) -> Tensor:
        """Return y plus the output for h, computed in one function if the matrix takes its own route."""
        if self.matrix.plan(h, self.route).product == "dense" or h.numel() == 0:
            return y + self(h).to(y.dtype)
        generators = self.matrix.generators(torch.promote_types(h.dtype, torch.float32))
        return residual(self.matrix.algebra, generators, self.activation, y, self.dropout(h), self.bias)


class Bottleneck(Branch):
    """W_up·act(W_down·dropout(h) + b_down) + b_up on h of shape (..., features); W_up and b_up start at zero."""

    def __init__(self, features: int, config: ResidualAdapterConfig):
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.down = nn.Linear(features, config.bottleneck)
        self.activation = ACTIVATIONS[config.activation]()
        self.up = nn.Linear(config.bottleneck, features)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, h: Tensor) -> Tensor:
        return self.up(self.activation(self.down(self.dropout(h))))


register_method("residual", ResidualAdapterConfig, ResidualLinear)
