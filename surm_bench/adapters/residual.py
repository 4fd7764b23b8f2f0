"""Residual adapters as a PEFT method: h ← h + f(h) behind a Linear layer, f zero at the start.

f is structured, act(S·dropout(h)) + bias (SURM's released code: activation first, then bias), or the classic
bottleneck, W_up·act(W_down·dropout(h) + b_down) + b_up (Houlsby et al., 2019; Pfeiffer et al., 2021).

The adapter follows the projection directly, so that it is the same on every backbone. In SURM's released code the
backbone's own dropout (0.1 in BERT) lies between both, here it follows the adapter and drops h + f(h); in evaluation,
and where the backbone has no dropout, there is no difference. Of its two adapters in a layer of BERT, that behind the
attention alone gets the dropout that is asked for; here both do. Its script for BERT freezes the pooler, which here is
part of the head and trained. That code also has a Toeplitz adapter of one symmetric
matrix T(a⊙b), and says itself that the paper's is the product, symmetric_toeplitz here; ``toeplitz`` contains it.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from peft.utils import PeftType
from torch import Tensor, nn

from surm_bench.adapters.options import build_structure, check_route, check_structure, merge_options
from surm_bench.adapters.tuner import LinearTuner, LinearTunerLayer, TunerConfig, Unmergeable, check_dropout, register
from surm_bench.errors import UserError, unknown
from surm_bench.structured.precision import parameter_dtype, under_autocast
from surm_bench.structured.residual import residual

PLACEMENTS = {"houlsby": ("o", "fc2"), "pfeiffer": ("fc2",)}  # behind attention and MLP, or behind the MLP alone
ACTIVATIONS = {"gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "relu": nn.ReLU, "identity": nn.Identity}
RESIDUAL_INIT_STD = 0.02  # of the factor that is not zero (SURM's released code)


@dataclass
class ResidualAdapterConfig(TunerConfig):
    """Configuration of a residual adapter: structured, or a bottleneck; exactly one of both is given.

    Without target_modules the placement decides: houlsby takes the attention's and the MLP's output projection,
    pfeiffer the MLP's alone.
    """

    structure: str | None = field(default=None, metadata={"help": "as SurmConfig's"})
    bottleneck: int | None = field(default=None, metadata={"help": "width m of a classic bottleneck"})
    placement: str = field(default="houlsby", metadata={"help": "houlsby or pfeiffer"})
    activation: str = field(default="gelu", metadata={"help": "gelu, silu, tanh, identity, or relu (bottleneck only)"})
    dropout: float = field(default=0.0, metadata={"help": "probability of dropout on the adapter's input"})
    r: int | None = field(default=None, metadata={"help": "of kronecker, ldr and low_rank; None is the default"})
    factor: tuple[int, int] | None = field(default=None, metadata={"help": "shape of kronecker's A, instead of r"})
    route: str = field(default="auto", metadata={"help": "auto, dense, or the structure's own"})
    options: dict[str, Any] | None = field(default=None, metadata={"help": "any options of the structure, by name"})

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = PeftType.RESIDUAL
        check_dropout(self.dropout)
        if (self.structure is None) == (self.bottleneck is None):
            raise UserError(
                f"a residual adapter is structured or a bottleneck: give one of structure (now {self.structure!r}) "
                f"and bottleneck (now {self.bottleneck!r})"
            )
        if self.placement not in PLACEMENTS:
            raise unknown("placement", self.placement, PLACEMENTS)
        if self.activation not in ACTIVATIONS:
            raise unknown("activation", self.activation, ACTIVATIONS)
        if self.structure is None:
            if self.bottleneck < 1:
                raise UserError(f"a bottleneck of width {self.bottleneck} is not possible: at least 1")
            if self.route != "auto":
                raise UserError(f"a bottleneck has no route (given: {self.route!r}): only structures have")
            if self.options:
                raise UserError(f"a bottleneck has no options (given: {self.options!r}): only structures have")
            return
        check_structure(self.structure, self.structure_options())
        check_route(self.structure, self.route)
        if self.activation == "relu":
            raise UserError("activation 'relu' has no gradient at zero, where a structured adapter starts: choose from "
                            + ", ".join(sorted(set(ACTIVATIONS) - {"relu"})))  # fmt: skip

    def structure_options(self) -> dict[str, Any]:
        """What goes to the structure's constructor."""
        return merge_options(self.options, r=self.r, factor=self.factor)

    def default_roles(self) -> tuple[str, ...]:
        return PLACEMENTS[self.placement]


class StructuredResidual(nn.Module):
    """act(S·dropout(h)) + bias on h of shape (..., features): zero at the start, as S and bias are."""

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

    @torch.compiler.disable  # hand-written, and planned by the number of tokens: nothing is left to compile
    def added(self, y: Tensor, h: Tensor) -> Tensor:
        """y plus the answer to h, in one function where the matrix takes its own route."""
        if self.matrix.plan(h, self.route).product == "dense":
            return y + self(h).to(y.dtype)
        generators = self.matrix.generators(torch.promote_types(h.dtype, torch.float32))
        return residual(self.matrix.algebra, generators, self.activation, y, self.dropout(h), self.bias)


class Answer(nn.Module):
    """f(h), of h's shape (..., features), as a plain module."""

    def added(self, y: Tensor, h: Tensor) -> Tensor:
        """y plus the answer to h."""
        dtype = h.dtype if under_autocast(h.device) else parameter_dtype(self)
        return y + self(h.to(dtype)).to(y.dtype)


class Bottleneck(Answer):
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


class AnsweredLinear(Unmergeable, LinearTunerLayer):
    """A frozen Linear and, behind it, the sum of h and the active adapters' answers to h. Subclasses give update_layer
    and adapter_layer_names."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(..., in_features) → (..., out_features); other arguments are the base layer's."""
        h = self.base_layer(x, *args, **kwargs)
        return self.answered(h, h)


class ResidualLinear(AnsweredLinear):
    adapter_layer_names = ("residual_adapter",)

    def update_layer(self, adapter_name: str, config: ResidualAdapterConfig) -> None:
        kind = Bottleneck if config.structure is None else StructuredResidual
        self.add(adapter_name, kind(self.out_features, config), config)


class ResidualModel(LinearTuner):
    """PEFT's model class of the method; made by ``get_peft_model(model, ResidualAdapterConfig(...))``."""

    prefix = "residual_"
    tuner_layer_cls = ResidualLinear


register("residual", ResidualAdapterConfig, ResidualModel)
