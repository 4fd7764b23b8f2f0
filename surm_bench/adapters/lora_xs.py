"""LoRA-XS as a PEFT method: ΔW = (alpha/r)·B·R·A. A and B come from the SVD of W0 and are frozen; R, r × r, is trained.

With W0 ≈ U·S·Vᵀ cut to its r largest singular values, B = U and A = S·Vᵀ; R starts at N(0, 1e-5²) (Bałazy et al.,
2024, arXiv 2405.17604; the side of S, the initialisation and the scale as in the authors' code). A and B are saved
beside R. Computing A and B again from W0 is not enough, because the signs of singular vectors differ between machines.
"""

from dataclasses import dataclass, field

import torch
from peft.utils import PeftType
from torch import Tensor, nn

from surm_bench.adapters.base_layer import dense_weight
from surm_bench.adapters.delta import Delta, DeltaLinear
from surm_bench.adapters.tuner import LinearTuner, TunerConfig, check_positive, register
from surm_bench.errors import UserError

INIT_STD = 1e-5


@dataclass
class LoraXsConfig(TunerConfig):
    """Configuration of LoRA-XS. Without target_modules, query and value projections are adapted."""

    r: int = field(default=16, metadata={"help": "number of singular values kept; r² parameters a layer"})
    alpha: float = field(default=16.0, metadata={"help": "the scale is alpha/r"})

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = PeftType.LORA_XS
        check_positive(self, "r")

    def default_roles(self) -> tuple[str, ...]:
        return ("q", "v")


class SingularDelta(Delta):
    """The delta (alpha/r)·B·R·A, with A and B from the leading singular vectors of a weight of shape (out, in)."""

    def __init__(self, weight: Tensor, config: LoraXsConfig):
        super().__init__()
        if config.r > min(weight.shape):
            raise UserError(f"r={config.r} is more than a layer of {tuple(weight.shape)} has singular values")
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


class LoraXsLinear(DeltaLinear):
    adapter_layer_names = ("lora_xs_delta",)

    def update_layer(self, adapter_name: str, config: LoraXsConfig) -> None:
        pretrained = self.unmerged if self.merged else dense_weight(self.base_layer)
        self.add(adapter_name, SingularDelta(pretrained, config), config)


class LoraXsModel(LinearTuner):
    """PEFT's model class of the method; made by ``get_peft_model(model, LoraXsConfig(...))``."""

    prefix = "lora_xs_"
    tuner_layer_cls = LoraXsLinear


register("lora_xs", LoraXsConfig, LoraXsModel)
