"""Aurora's mode approximation as a PEFT method: ΔW = scale·V·(C ×₃ p)ᵀ·U, where all layers share U, V and the r×r×r
core C, and p has r numbers for each layer.

Wang et al., 2023, arXiv 2305.08381. These details follow the authors' code (WillDreamer/Aurora): all six matrices of a
layer are adapted, the MLP's matrices in blocks of the model's width, with a p for each block; r = 64; V starts at zero,
C and p Xavier-uniform; dropout of 0.1 follows the core. The paper's CP decomposition has a diagonal core; the authors'
code and this module have a full core. Here each p is drawn for its own matrix and acts on its own block; the authors'
code draws all p of a layer at once, and a reshape mixes the blocks of the MLP. The authors' text encoder adapts q, k
and v alone; here all six matrices of a text model are adapted, like those of the authors' image encoder. This module
omits the parts that the authors' code adds between a text model's layers for two modalities.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from surm_bench.adapters.delta import Delta, DeltaLinear
from surm_bench.adapters.planes import BetweenPlanes, Planes, PlanesConfig, between_planes
from surm_bench.adapters.register import register_method
from surm_bench.adapters.site import Shared, Site


@dataclass
class AuroraConfig(PlanesConfig):
    """Configuration of Aurora. Without target_modules, all Linears of a layer are adapted."""

    def build(self, site: Site) -> Delta:
        return between_planes(WeighedCore, CoredPlanes, site, self)


class CoredPlanes(Planes):
    """Planes with the shared core C, (r, r, r). p weights the last mode of C."""

    def __init__(self, width: int, r: int):
        super().__init__(width, r)
        self.c = nn.Parameter(nn.init.xavier_uniform_(torch.empty(r, r, r)))


class WeighedCore(BetweenPlanes):
    """The core of block (a, b) is Σ_k p_abk·C[:, :, k]ᵀ; p is (r, rows·columns)."""

    def __init__(self, planes: Shared, blocks: tuple[int, int], config: AuroraConfig):
        super().__init__(planes, blocks, config)
        self.p = nn.Parameter(nn.init.xavier_uniform_(torch.empty(self.r, self.rows * self.columns)))

    def core(self) -> Tensor:
        p = self.p.view(self.r, self.rows, self.columns)
        blocks = torch.einsum("srk,kab->arbs", self.shared.c.to(p), p)
        return blocks.reshape(self.rows * self.r, self.columns * self.r)


register_method("aurora", AuroraConfig, DeltaLinear)
