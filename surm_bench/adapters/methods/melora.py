"""MELoRA as a PEFT method: n small LoRAs of rank r, one for each of n equal parts of the input and the output.

ΔW = (alpha/r)·blockdiag(B_1·A_1, …, B_n·A_n) has rank n·r and r·(in + out) parameters for every n (Ren et al., 2024,
arXiv 2402.17263). Scale and initialisation follow the authors' code, where alpha and r belong to each small LoRA. The
authors' scripts (ChasonShi/MELoRA) have alpha = 16 and dropout of 0.05 on the input; here alpha is 1 by default,
without dropout.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from surm_bench.adapters.delta import Delta, DeltaLinear
from surm_bench.adapters.register import register_method
from surm_bench.adapters.site import Site
from surm_bench.adapters.tuner_config import TunerConfig
from surm_bench.errors import UserError


@dataclass
class MeloraConfig(TunerConfig):
    """Configuration of MELoRA. Without target_modules, query and value projections are adapted."""

    n: int = field(
        default=8, metadata={"help": "number of small LoRAs; it divides both sizes of every layer", "least": 1}
    )
    r: int = field(default=1, metadata={"help": "rank of each of them", "least": 1})
    alpha: float = field(default=1.0, metadata={"help": "the scale of each is alpha/r"})

    usual_roles = ("q", "v")

    def build(self, site: Site) -> Delta:
        return BlockDiagonal(*site.shape, self)


class BlockDiagonal(Delta):
    """n blocks B_i·A_i on the diagonal: A of shape (n, r, in/n), B of shape (n, out/n, r)."""

    def __init__(self, out_features: int, in_features: int, config: MeloraConfig):
        super().__init__()
        if out_features % config.n or in_features % config.n:
            raise UserError(f"n={config.n} does not divide both sizes of a layer of {out_features}×{in_features}")
        self.scale = config.alpha / config.r
        self.a = nn.Parameter(torch.empty(config.n, config.r, in_features // config.n))
        self.b = nn.Parameter(torch.zeros(config.n, out_features // config.n, config.r))
        for block in self.a:
            nn.init.kaiming_uniform_(block, a=math.sqrt(5))

    def dense(self) -> Tensor:
        return self.scale * torch.block_diag(*(self.b @ self.a))

    def forward(self, x: Tensor) -> Tensor:
        parts = x.unflatten(-1, (len(self.a), -1))  # (..., n, in/n)
        narrow = torch.einsum("...ni,nri->...nr", parts, self.a)
        return self.scale * torch.einsum("...nr,nor->...no", narrow, self.b).flatten(-2)


register_method("melora", MeloraConfig, DeltaLinear)
