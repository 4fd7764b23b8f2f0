"""LoRA-Fix as a PEFT method: ΔW = (alpha/r)·B·A. A is random and frozen; only B, zero at the start, is trained.

LoRA-Fix is a baseline of He et al., 2022, arXiv 2203.16329; Zhang et al., 2023, arXiv 2308.03303, call the method
LoRA-FA. A starts like LoRA's A, kaiming-uniform, from the run's seed, and is saved beside B. Parameter counts include B
alone, just as VeRA's counts leave out its random matrices. The code of the first paper does not contain LoRA-Fix, so
the paper's rank and scale are not known to us.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from surm_bench.adapters.delta import DeltaLinear, ThinDelta
from surm_bench.adapters.register import register_method
from surm_bench.adapters.site import Site
from surm_bench.adapters.tuner_config import TunerConfig


@dataclass
class LoraFixConfig(TunerConfig):
    """Configuration of LoRA-Fix. Without target_modules, query and value projections are adapted."""

    r: int = field(default=8, metadata={"help": "rank; r·out parameters a layer", "least": 1})
    alpha: float = field(default=8.0, metadata={"help": "the scale is alpha/r"})

    usual_roles = ("q", "v")

    def build(self, site: Site) -> ThinDelta:
        return HalfTrained(*site.shape, self)


class HalfTrained(ThinDelta):
    """The delta (alpha/r)·B·A, where A, (r, in_features), is a buffer and not trained."""

    def __init__(self, out_features: int, in_features: int, config: LoraFixConfig):
        super().__init__()
        self.scale = config.alpha / config.r
        self.register_buffer("a", nn.init.kaiming_uniform_(torch.empty(config.r, in_features), a=math.sqrt(5)))
        self.b = nn.Parameter(torch.zeros(out_features, config.r))

    def pair(self) -> tuple[Tensor, Tensor]:
        return self.scale * self.b, self.a


register_method("lora_fix", LoraFixConfig, DeltaLinear)
