"""DoRA, dynamic low-rank adaptation, as a PEFT method: ΔW = (alpha/r₀)·Σ_i c_i·b_i·a_iᵀ; training zeroes some c_i.

Mao et al., 2024, arXiv 2405.17357 (not the DoRA that decomposes weights); all constants as in the authors' code
(MIkumikumi0116/DoRA). Each layer starts with r₀ = ⌈1.5·r⌉ terms and keeps r terms on average. After every step the
importance of each term, ‖c_i·b_i·a_iᵀ‖/‖ΔW‖, enters a moving average. From 15 % of the steps on, and for the next 35 %,
a growing number of the model's least important terms is zeroed at intervals. Zeroed terms may grow again until this
phase ends; after that they stay zero. Until the phase ends, the loss has a term that keeps the entries of each vector
alike: the mean over all a_i and b_i of the variance of their entries.

The authors adapt every matrix of a layer. Their count of the kept parameters leaves c out, because c is multiplied
into b.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from surm_bench.adapters.delta import DeltaLinear, ThinDelta
from surm_bench.adapters.hooks import Hooks
from surm_bench.adapters.pruning import zero_lowest
from surm_bench.adapters.register import register_method
from surm_bench.adapters.site import Site
from surm_bench.adapters.tuner_config import TunerConfig

BEGIN, LENGTH = 0.15, 0.35  # fractions of the steps: before the first zeroing, and from the first to the last
MEMORY = 0.9  # of the moving average of importances
EPS = 1e-8


@dataclass
class DynamicDoraConfig(TunerConfig):
    """Configuration of DoRA with dynamic ranks. Without target_modules, query and value projections are adapted."""

    r: int = field(
        default=8, metadata={"help": "rank kept, on average over the layers; it starts with ⌈1.5·r⌉", "least": 1}
    )
    alpha: float = field(default=8.0, metadata={"help": "the scale is alpha over the rank at the start"})
    dropout: float = field(
        default=0.1, metadata={"help": "probability of dropout on the delta's input", "least": 0, "below": 1}
    )
    variance: float = field(
        default=0.1, metadata={"help": "weight of the vectors' mean variance in the loss", "least": 0}
    )
    interval: int = field(default=100, metadata={"help": "steps from one zeroing to the next", "least": 1})

    usual_roles = ("q", "v")

    @property
    def init_r(self) -> int:
        """The rank at the start, r₀."""
        return math.ceil(1.5 * self.r)

    def build(self, site: Site) -> ThinDelta:
        return Terms(*site.shape, self)

    def training_hooks(self, adapters: Mapping[str, nn.Module]) -> Hooks:
        return DynamicRanks(adapters, self)


class Terms(ThinDelta):
    """The terms of one layer: a (r₀, in), b (out, r₀) and c (r₀,). c is zero at the start."""

    def __init__(self, out_features: int, in_features: int, config: DynamicDoraConfig):
        super().__init__()
        self.kept, self.scale = config.r, config.alpha / config.init_r
        self.dropout = nn.Dropout(config.dropout)
        self.a = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(config.init_r, in_features)))
        self.b = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(out_features, config.init_r)))
        self.c = nn.Parameter(torch.zeros(config.init_r))

    @property
    def num_spared(self) -> int:
        """The size of the zeroed terms and of c: r of r₀ terms are kept on average, and c is multiplied into b."""
        return (len(self.c) - self.kept) * (len(self.b) + self.a.shape[1]) + len(self.c)

    def pair(self) -> tuple[Tensor, Tensor]:
        return self.scale * self.b * self.c, self.a

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.dropout(x))

    def importance(self) -> Tensor:
        """Return ‖c_i·b_i·a_iᵀ‖/‖Σ_j c_j·b_j·a_jᵀ‖ of each term i, (r₀,)."""
        scaled = self.b * self.c
        return scaled.norm(dim=0) * self.a.norm(dim=1) / ((scaled @ self.a).norm() + EPS)


class DynamicRanks(Hooks):
    """The training hooks of one DoRA adapter with dynamic ranks."""

    def __init__(self, terms: dict[str, Terms], config: DynamicDoraConfig):
        self.terms, self.config = terms, config
        self.step = 0

    def begin(self, steps: int) -> None:
        """Plan the zeroing. A run of any length has a last zeroing, if need be after its first step."""
        self.first = int(BEGIN * steps)
        self.length = max(1, int(LENGTH * steps))
        self.scores = {name: torch.zeros_like(layer.c, requires_grad=False) for name, layer in self.terms.items()}

    def penalty(self) -> Tensor | float:
        """Return the weighted mean variance of all vectors a_i and b_i, or 0 once the ranks are fixed."""
        if self.step >= self.first + self.length:
            return 0.0
        variances = [v for layer in self.terms.values() for v in (layer.a.var(dim=1), layer.b.var(dim=0))]
        return self.config.variance * torch.cat(variances).mean()

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Average the importances while ranks may change, and zero the least important terms when a zeroing is due."""
        self.step, done = step, step - self.first
        if done <= self.length:
            for name, layer in self.terms.items():
                self.scores[name].lerp_(layer.importance(), 1 - MEMORY)
        if done >= self.length or (done >= 0 and done % self.config.interval == 0):
            factors = [layer.c for layer in self.terms.values()]
            zero_lowest(factors, self.scores.values(), self.count(min(done, self.length)))

    def count(self, done: int) -> int:
        """Return the number of zero terms ``done`` steps after the first zeroing: the surplus times (done/length)³."""
        too_many = len(self.terms) * (self.config.init_r - self.config.r)
        return max(1, too_many * done**3 // self.length**3)

    def state_dict(self) -> dict:
        """Return the step and the averaged importances, which also determine the terms that are zero in the end."""
        return {"scores": self.scores, "step": self.step}

    def load_state_dict(self, state: dict) -> None:
        """Continue from a result of state_dict whose tensors are on the CPU."""
        self.step = state["step"]
        for name, score in self.scores.items():
            score.copy_(state["scores"][name])


register_method("dora_dynamic", DynamicDoraConfig, DeltaLinear)
