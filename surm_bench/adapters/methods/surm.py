"""SURM's weight delta as a PEFT method: y = (W0 + α·ΔW)x + bias, W0 frozen, ΔW structured and zero at the start."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from surm_bench.adapters.base_layer import is_plain_linear
from surm_bench.adapters.delta import DeltaLinear
from surm_bench.adapters.options import build_structure, check_route, check_structure, merge_options
from surm_bench.adapters.register import register_method
from surm_bench.adapters.site import Site
from surm_bench.adapters.tuner_config import TunerConfig
from surm_bench.errors import UserError
from surm_bench.structured.linear import Term, linear
from surm_bench.structured.precision import product_dtype
from surm_bench.structured.routes import Plan


@dataclass
class SurmConfig(TunerConfig):
    """Configuration of the structured weight delta (Sehanobish et al., arXiv 2406.17740).

    The delta is scaled by alpha, independently of r. SURM's released code divides by r for Kronecker alone. If all
    layers have the same size, this division is the same as another alpha (1/24 for 768, where r is 24), so there is no
    option for it. The released script for BERT freezes the pooler; here the pooler is part of the head and trained.

    A sum or product has the option ``parts``, a list of structures with their own options, for example
    ``options={"parts": [{"structure": "circulant"}, {"structure": "low_rank", "r": 2}]}``. The inner size of a product,
    between its factors, is the longer side of the product.

    Without target_modules, query and value projections are adapted; the paper adapts the key projections too.
    """

    structure: str = field(default="circulant", metadata={"help": "a name in surm_bench.structured, sum or product"})
    alpha: float = field(default=1.0, metadata={"help": "the scale of the delta; the same for every r"})
    dropout: float = field(
        default=0.0, metadata={"help": "probability of dropout on the delta's input", "least": 0, "below": 1}
    )
    r: int | None = field(default=None, metadata={"help": "rank of kronecker, ldr and low_rank; None: their default"})
    factor: tuple[int, int] | None = field(default=None, metadata={"help": "shape of kronecker's A, instead of r"})
    init_std: float | None = field(default=None, metadata={"help": "start of the factor that is not zero"})
    route: str = field(default="auto", metadata={"help": "auto, dense, or the structure's own: fft, factored or parts"})
    options: dict[str, Any] | None = field(default=None, metadata={"help": "any options of the structure, by name"})

    usual_roles = ("q", "v")

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.alpha, int | float):
            raise UserError(f"alpha={self.alpha!r} is not possible: give a number")
        check_structure(self.structure, self.structure_options())
        check_route(self.structure, self.route)

    def structure_options(self) -> dict[str, Any]:
        """Return the arguments for the structure's constructor."""
        return merge_options(self.options, r=self.r, factor=self.factor, init_std=self.init_std)

    def build(self, site: Site) -> nn.Module:
        return build_structure(self.structure, *site.shape, self.structure_options())


class SurmLinear(DeltaLinear):
    """A frozen Linear plus the structured deltas of its active adapters."""

    other_param_names = ("surm_dropout", "surm_alpha", "surm_route")

    def __init__(self, base_layer: nn.Linear):
        super().__init__(base_layer)
        self.surm_dropout = nn.ModuleDict()
        self.surm_alpha: dict[str, float] = {}
        self.surm_route: dict[str, str] = {}

    def add(self, adapter_name: str, adapter: nn.Module, config: SurmConfig) -> None:
        self.surm_dropout[adapter_name] = nn.Dropout(config.dropout)
        self.surm_alpha[adapter_name] = config.alpha
        self.surm_route[adapter_name] = config.route
        super().add(adapter_name, adapter, config)

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """Return α·ΔW of one adapter, shape (out_features, in_features), fp32 or wider."""
        return self.surm_alpha[adapter_name] * self.adapters[adapter_name].dense()

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(..., in_features) → (..., out_features); the other arguments go to the base layer."""
        names = self.unmerged_names()
        plans = self._plans(names, x) if names and self._one_product(names, x) else {}
        y = self._merged(x, plans) if plans else self.base_layer(x, *args, **kwargs)
        for name in names:
            if name not in plans:
                dropped = self.surm_dropout[name](x)
                y = y + self.adapters[name](dropped, self.surm_route[name], self.surm_alpha[name]).to(y.dtype)
        return y

    def _plans(self, names: list[str], x: Tensor) -> dict[str, Plan]:
        """Return the plans of the deltas that are cheapest when added to the base weight."""
        plans = {name: self.adapters[name].plan(x, self.surm_route[name], merged=True) for name in names}
        return {name: plan for name, plan in plans.items() if plan.product == "dense"}

    def _merged(self, x: Tensor, plans: dict[str, Plan]) -> Tensor:
        """Compute (W0 + Σ α·ΔW)x + bias as one product, under autocast in autocast's precision."""
        weight, bias = self.base_layer.weight, self.base_layer.bias
        x = x.to(product_dtype(x))
        if weight.requires_grad or (bias is not None and bias.requires_grad):  # trained too: linear() needs both frozen
            weight = weight + sum(self.get_delta_weight(name) for name in plans)
            return nn.functional.linear(x, weight.to(x.dtype), bias)
        terms = []
        for name, plan in plans.items():
            delta = self.adapters[name]
            generators = delta.generators(weight.dtype, self.surm_alpha[name])
            terms.append(Term(delta.algebra, generators, plan.gradient))
        return linear(x, weight, bias, terms)

    def _one_product(self, names: list[str], x: Tensor) -> bool:
        """Return whether W0 + α·ΔW may be formed before the product with x.

        The sum may not be formed in three cases: with dropout, which applies to the delta's input only; if the base
        layer has to be called; and if W0 is in half precision, because a delta below half a step of W0's grid would be
        rounded away entirely. Under autocast, W0 has more precision than this grid, and the sum is rounded once, just
        as mixed precision rounds every weight that it trains (Micikevicius et al., arXiv 1710.03740).
        """
        dropped = self.training and any(self.surm_dropout[name].p > 0 for name in names)
        return not dropped and is_plain_linear(self.base_layer) and self.base_layer.weight.dtype.itemsize >= 4


register_method("surm", SurmConfig, SurmLinear)
