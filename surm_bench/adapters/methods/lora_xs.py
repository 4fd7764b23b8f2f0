"""LoRA-XS as a PEFT method: ΔW = (alpha/r)·B·R·A. A and B come from the SVD of W0 and are frozen; R, r × r, is trained.

With W0 ≈ U·S·Vᵀ cut to its r largest singular values, B = U and A = S·Vᵀ; R starts at N(0, 1e-5²) (Bałazy et al.,
2024, arXiv 2405.17604; the side of S, the initialisation and the scale as in the authors' code). A and B are saved
beside R. Computing A and B again from W0 is not enough, because the signs of singular vectors differ between machines.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from surm_bench.adapters.delta import Delta, DeltaLinear
from surm_bench.adapters.register import register_method
from surm_bench.adapters.site import Site
from surm_bench.adapters.tuner_config import TunerConfig
from surm_bench.errors import UserError

INIT_STD = 1e-5


@dataclass
class LoraXsConfig(TunerConfig):
    """Configuration of LoRA-XS. Without target_modules, query and value projections are adapted."""

    r: int = field(default=16, metadata={"help": "number of singular values kept; r² parameters a layer", "least": 1})
    alpha: float = field(default=16.0, metadata={"help": "the scale is alpha/r"})

    usual_roles = ("q", "v")

    def build(self, site: Site) -> Delta:
        return SingularDelta(site.layer.original_weight(), self)


class SingularDelta(Delta):
    """The delta (alpha/r)·B·R·A, with A and B from the leading singular vectors of a weight of shape (out, in)."""

    def __init__(self, weight: Tensor, config: LoraXsConfig):
        super().__init__()
        if config.r > min(weight.shape):
            raise UserError(f"r={config.r} is not possible: at most {min(weight.shape)}, the smaller side of a layer")
        precise = weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
        u, s, v = torch.linalg.svd(precise, full_matrices=False)
        self.scale = config.alpha / config.r
        self.r = nn.Parameter(INIT_STD * torch.randn(config.r, config.r))
        self.register_buffer("a", (s[: config.r, None] * v[: config.r]).contiguous())
        self.register_buffer("b", u[:, : config.r].contiguous())

    def dense(self) -> Tensor:
        return self.scale * self.b @ self.r @ self.a

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x @ self.a.T @ self.r.T @ self.b.T


register_method("lora_xs", LoraXsConfig, DeltaLinear)
