"""FacT in its tensor-train form as a PEFT method: ΔW = scale·V·Σ·U. All layers share U and V; each layer has its own Σ.

Jie & Deng, 2023, arXiv 2212.03145 (FacT-TT). These details follow the authors' code (JieShibo/PETL-ViT,
FacT/fact_tt.py): all six matrices of a layer are adapted, the MLP's matrices in blocks of the model's width; U and Σ
are initialised like the weight of a Linear, V with zeros; dropout of 0.1 follows Σ. The authors choose the scale, from
0.01 to 100, and the rank for each task.
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
    """Configuration of FacT. Without target_modules, all Linears of a layer are adapted."""

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = PeftType.FACT


class TrainedCore(BetweenPlanes):
    """The delta of one layer, whose core Σ, (rows·r, columns·r), is a trained parameter."""

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
