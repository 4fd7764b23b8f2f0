"""LoRA² as a PEFT method: ΔW = (alpha/r)·D·C·diag(e)·B·A, with two low-rank planes and one value e per rank. Training
zeroes some of the r values.

Zhang et al., 2024, arXiv 2408.06854. The forward pass follows the authors' code (Godz-z/LoRA-2): A (k, in), B (r, k),
e (r,), C (k, r) and D (out, k), k = 8; e starts at zero and all other factors at N(0, 0.02²). Ranks shrink as in
AdaLoRA (arXiv 2303.10512), but only e, B and C are scored. The loss includes the mean distance of the four factors from
orthogonal matrices, ‖A·Aᵀ − 1‖, ‖Bᵀ·B − 1‖, ‖C·Cᵀ − 1‖ and ‖Dᵀ·D − 1‖.

In the authors' code, merging gives another matrix than the forward pass, and a loss term across both planes is computed
but not used. Neither is the case in this module. The authors adapt every matrix of a layer. Their scripts set
the steps of each task and the steps between two cuts (1, 10 or 100) by hand. Here no rank is cut in the first tenth of
the steps, and the cut ranks are fixed in the last half.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from surm_bench.adapters.delta import DeltaLinear, ThinDelta
from surm_bench.adapters.hooks import Hooks
from surm_bench.adapters.pruning import distance_to_orthogonal, zero_lowest
from surm_bench.adapters.register import register_method
from surm_bench.adapters.site import Site
from surm_bench.adapters.tuner_config import TunerConfig
from surm_bench.errors import UserError

INIT_STD = 0.02
WARM_UP, FINAL = 0.1, 0.5  # fractions of the steps: before the first and after the last cut
MEMORY = 0.85  # decay of the moving averages of sensitivity and of its uncertainty


@dataclass
class Lora2Config(TunerConfig):
    """Configuration of LoRA². Without target_modules, query and value projections are adapted."""

    r: int = field(default=8, metadata={"help": "number of values e at the start"})
    target_r: int = field(default=4, metadata={"help": "how many of them are kept, on average over the layers"})
    k: int = field(default=8, metadata={"help": "width of both planes: no delta has a larger rank", "least": 1})
    alpha: float = field(default=16.0, metadata={"help": "the scale is alpha/r"})
    orthogonality: float = field(
        default=0.1, metadata={"help": "weight of the factors' distance from orthogonal ones", "least": 0}
    )
    interval: int = field(
        default=100, metadata={"help": "steps from one cut to the next, until ranks are fixed", "least": 1}
    )

    usual_roles = ("q", "v")

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.target_r < self.r:
            raise UserError(
                f"target_r={self.target_r} is not possible: from 1 to below r={self.r}, the rank at the start"
            )

    def build(self, site: Site) -> ThinDelta:
        return TwoPlanes(*site.shape, self)

    def training_hooks(self, adapters: Mapping[str, nn.Module]) -> Hooks:
        return PlaneRanks(adapters, self)


class TwoPlanes(ThinDelta):
    """The delta (alpha/r)·D·C·diag(e)·B·A of one layer."""

    def __init__(self, out_features: int, in_features: int, config: Lora2Config):
        super().__init__()
        r, k = config.r, config.k
        self.kept, self.scale = min(config.target_r, k), config.alpha / r
        shapes = {"a": (k, in_features), "b": (r, k), "c": (k, r), "d": (out_features, k)}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(INIT_STD * torch.randn(shape)))
        self.e = nn.Parameter(torch.zeros(r))

    @property
    def num_spared(self) -> int:
        """The trained minus the served values: target_r ranks on average, as the products D·C·diag(e) and B·A."""
        return sum(p.numel() for p in self.parameters()) - self.kept * (len(self.d) + self.a.shape[1])

    def pair(self) -> tuple[Tensor, Tensor]:
        return self.scale * self.d @ (self.c * self.e), self.b @ self.a

    def from_orthogonal(self) -> Tensor:
        """Return the distances of the four factors from orthogonal matrices, (4,)."""
        return torch.stack([distance_to_orthogonal(factor) for factor in (self.a.T, self.b, self.c.T, self.d)])


class PlaneRanks(Hooks):
    """The training hooks of one LoRA² adapter."""

    def __init__(self, planes: dict[str, TwoPlanes], config: Lora2Config):
        self.planes, self.config = planes, config

    def begin(self, steps: int) -> None:
        """Plan the cuts. The last cut comes after the first step at the earliest, because cuts need sensitivities."""
        self.steps, self.first = steps, int(WARM_UP * steps)
        self.last = max(self.first + 1, steps - int(FINAL * steps))
        scored = {f"{layer}.{name}": p for layer, name, p in self._scored()}
        self.sensitivity, self.uncertainty = (
            {name: torch.zeros_like(p, requires_grad=False) for name, p in scored.items()} for _ in range(2)
        )

    def penalty(self) -> Tensor:
        """Return the weighted mean of the factors' distances from orthogonal matrices."""
        distances = torch.cat([plane.from_orthogonal() for plane in self.planes.values()])
        return self.config.orthogonality * distances.mean()

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Update the sensitivities |p·∂loss/∂p| from the gradients, which are still set, and cut to the budget."""
        if step < max(self.last, 2):
            for layer, name, p in self._scored():
                key, now = f"{layer}.{name}", (p * p.grad).abs()
                self.sensitivity[key].lerp_(now, 1 - MEMORY)
                self.uncertainty[key].lerp_((now - self.sensitivity[key]).abs(), 1 - MEMORY)
        due = step > self.last or step == self.steps or step % self.config.interval == 0
        if due and (cut := self.count(step)):
            zero_lowest([plane.e for plane in self.planes.values()], map(self._scores, self.planes), cut)

    def count(self, step: int) -> int:
        """Return the number of zero values after a step, by the cubic schedule of AdaLoRA."""
        total, target = (len(self.planes) * r for r in (self.config.r, self.config.target_r))
        left = min(1.0, max(0.0, (self.last - step) / (self.last - self.first)))
        return total - target - int((total - target) * left**3)

    def state_dict(self) -> dict:
        """Return the averaged sensitivities and their uncertainty, which also determine the values that end up zero."""
        return {"sensitivity": self.sensitivity, "uncertainty": self.uncertainty}

    def load_state_dict(self, state: dict) -> None:
        """Continue from a result of state_dict whose tensors are on the CPU."""
        for kind, values in state.items():
            for name, value in getattr(self, kind).items():
                value.copy_(values[name])

    def _scored(self) -> list[tuple[str, str, nn.Parameter]]:
        return [(layer, name, getattr(plane, name)) for layer, plane in self.planes.items() for name in "ebc"]

    def _scores(self, layer: str) -> Tensor:
        """Return the score of each value e, (r,): its sensitivity times uncertainty, plus the means of this product
        over the value's row of B and column of C.
        """
        e, b, c = (self.sensitivity[f"{layer}.{name}"] * self.uncertainty[f"{layer}.{name}"] for name in "ebc")
        return e + b.mean(1) + c.mean(0)


register_method("lora2", Lora2Config, DeltaLinear)
