"""Aurora's mode approximation as a PEFT method: ΔW = scale·V·(C ×₃ p)ᵀ·U, where all layers share U, V and the r×r×r
core C, and p has r numbers for each layer.

Wang et al., 2023, arXiv 2305.08381. Read in the authors' code (WillDreamer/Aurora): all six matrices of a layer, those
of the MLP in blocks of the model's width with a p for each; r = 64; V starts at zero, C and p Xavier-uniform; dropout
of 0.1 behind the core. The paper's CP decomposition has a diagonal core, its code the full one, as here. Here a p is
drawn for its own matrix and acts on its own block; there those of a whole layer are drawn at once, and a reshape mixes
the blocks of the MLP. The code's text encoder adapts q, k and v alone; here a text model is adapted as its image
encoder is, in all six. Left out is what the code adds between a text model's layers for two modalities.
"""

from dataclasses import dataclass

import torch
from peft.utils import PeftType
from torch import Tensor, nn

from surm_bench.adapters.planes import BetweenPlanes, Planes, PlanesConfig, PlanesLinear, PlanesModel
from surm_bench.adapters.tuner import register


@dataclass
class AuroraConfig(PlanesConfig):
    """Configuration of Aurora; without target_modules it takes all Linears of a layer."""

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = PeftType.AURORA


class CoredPlanes(Planes):
    """With C, (r, r, r): its last mode is the one that p weighs."""

    def __init__(self, width: int, r: int):
        super().__init__(width, r)
        self.c = nn.Parameter(nn.init.xavier_uniform_(torch.empty(r, r, r)))


class WeighedCore(BetweenPlanes):
    """The core of block (a, b) is Σ_k p_abk·C[:, :, k]ᵀ; p is (r, rows·columns)."""

    def __init__(self, planes: CoredPlanes, owner: bool, rows: int, columns: int, config: AuroraConfig):
        super().__init__(planes, owner, rows, columns, config)
        self.p = nn.Parameter(nn.init.xavier_uniform_(torch.empty(config.r, rows * columns)))

    def core(self) -> Tensor:
        p = self.p.view(self.r, self.rows, self.columns)
        blocks = torch.einsum("srk,kab->arbs", self.shared.c.to(p), p)
        return blocks.reshape(self.rows * self.r, self.columns * self.r)


class AuroraLinear(PlanesLinear):
    adapter_layer_names = ("aurora_delta",)


class AuroraModel(PlanesModel):
    """PEFT's model class of the method; made by ``get_peft_model(model, AuroraConfig(...))``."""

    prefix = "aurora_"
    tuner_layer_cls = AuroraLinear
    delta_cls = WeighedCore
    planes_cls = CoredPlanes


register("aurora", AuroraConfig, AuroraModel)
