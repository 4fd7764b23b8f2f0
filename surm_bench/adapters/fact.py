"""FacT as a PEFT method, its tensor-train form: ΔW = scale·V·Σ·U, U and V shared by all layers and Σ of each layer.

Jie & Deng, 2023, arXiv 2212.03145 (FacT-TT). Read in the authors' code (JieShibo/PETL-ViT, FacT/fact_tt.py): all six
matrices of a layer, those of the MLP in blocks of the model's width; U and Σ start as the weight of a Linear does, V at
zero; dropout of 0.1 behind Σ. The scale is chosen for each task there, from 0.01 to 100, and so is the rank.
"""

import math
from dataclasses import dataclass

import torch
from peft.utils import PeftType
from torch import Tensor, nn

from surm_bench.adapters.planes import BetweenPlanes, Planes, PlanesConfig, PlanesLinear, PlanesModel
from surm_bench.adapters.tuner import register


@dataclass
class FactConfig(PlanesConfig):
    """Configuration of FacT; without target_modules it takes all Linears of a layer."""

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = PeftType.FACT


class TrainedCore(BetweenPlanes):
    """Σ, (rows·r, columns·r), is trained itself."""

    def __init__(self, planes: Planes, owner: bool, rows: int, columns: int, config: FactConfig):
        super().__init__(planes, owner, rows, columns, config)
        self.sigma = nn.Parameter(torch.empty(rows * config.r, columns * config.r))
        nn.init.kaiming_uniform_(self.sigma, a=math.sqrt(5))

    def core(self) -> Tensor:
        return self.sigma


class FactLinear(PlanesLinear):
    adapter_layer_names = ("fact_delta",)


class FactModel(PlanesModel):
    """PEFT's model class of the method; made by ``get_peft_model(model, FactConfig(...))``."""

    prefix = "fact_"
    tuner_layer_cls = FactLinear
    delta_cls = TrainedCore


register("fact", FactConfig, FactModel)
