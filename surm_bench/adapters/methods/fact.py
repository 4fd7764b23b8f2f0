"""FacT in its tensor-train form as a PEFT method: ΔW = scale·V·Σ·U. All layers share U and V; each layer has its own Σ.

Jie & Deng, 2023, arXiv 2212.03145 (FacT-TT). These details follow the authors' code (JieShibo/PETL-ViT,
FacT/fact_tt.py): all six matrices of a layer are adapted, the MLP's matrices in blocks of the model's width; U and Σ
are initialised like the weight of a Linear, V with zeros; dropout of 0.1 follows Σ. The authors choose the scale, from
0.01 to 100, and the rank for each task.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from surm_bench.adapters.delta import Delta, DeltaLinear
from surm_bench.adapters.planes import BetweenPlanes, Planes, PlanesConfig, between_planes
from surm_bench.adapters.register import register_method
from surm_bench.adapters.site import Shared, Site


@dataclass
class FactConfig(PlanesConfig):
    """Configuration of FacT. Without target_modules, all Linears of a layer are adapted."""

    def build(self, site: Site) -> Delta:
        return between_planes(TrainedCore, Planes, site, self)


class TrainedCore(BetweenPlanes):
    """The delta of one layer, whose core Σ, (rows·r, columns·r), is a trained parameter."""

    def __init__(self, planes: Shared, blocks: tuple[int, int], config: FactConfig):
        super().__init__(planes, blocks, config)
        self.sigma = nn.Parameter(torch.empty(self.rows * self.r, self.columns * self.r))
        nn.init.kaiming_uniform_(self.sigma, a=math.sqrt(5))

    def core(self) -> Tensor:
        return self.sigma


register_method("fact", FactConfig, DeltaLinear)
