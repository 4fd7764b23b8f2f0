"""Deltas between two planes that all layers share: ΔW = scale·V·M·U with a small core M for each layer.

U is (r, d) and V (d, r), d the width of the model. A layer whose input or output is several times as wide, as those of
an MLP, has a core for each of its blocks of d×d. U starts as the weight of a Linear does and V at zero.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from surm_bench.adapters.delta import Delta, DeltaLinear
from surm_bench.adapters.sharing import Sharing, find_shared
from surm_bench.adapters.tuner import LinearTuner, TunerConfig, check_dropout, check_positive
from surm_bench.errors import UserError


@dataclass
class PlanesConfig(TunerConfig):
    """What the configurations of these methods share; without target_modules they take all Linears of a layer."""

    r: int = field(default=16, metadata={"help": "the planes' dimension"})
    scale: float = field(default=1.0, metadata={"help": "of the delta"})
    dropout: float = field(default=0.1, metadata={"help": "probability of dropout between the core and V"})

    def __post_init__(self):
        super().__post_init__()
        check_dropout(self.dropout)
        check_positive(self, "r")

    def default_roles(self) -> tuple[str, ...]:
        return ("q", "k", "v", "o", "fc1", "fc2")


class Planes(nn.Module):
    """U and V, and what else all layers share."""

    def __init__(self, width: int, r: int):
        super().__init__()
        self.u = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(r, width), a=math.sqrt(5)))
        self.v = nn.Parameter(torch.zeros(width, r))


class BetweenPlanes(Sharing, Delta):
    """scale·V·M·U of one layer, with rows × columns blocks of the planes' width. Subclasses give the core."""

    def __init__(self, planes: Planes, owner: bool, rows: int, columns: int, config: PlanesConfig):
        super().__init__(planes, owner)
        self.rows, self.columns, self.r, self.scale = rows, columns, config.r, config.scale
        self.dropout = nn.Dropout(config.dropout)

    @abstractmethod
    def core(self) -> Tensor:
        """M, (rows·r, columns·r)."""

    def dense(self) -> Tensor:
        core = self.core()
        u, v = self.shared.u.to(core), self.shared.v.to(core)
        blocks = core.view(self.rows, self.r, self.columns, self.r)
        return self.scale * torch.einsum("or,arbs,si->aobi", v, blocks, u).flatten(2).flatten(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        u, v = self.shared.u.to(x.device), self.shared.v.to(x.device)
        narrow = (x.unflatten(-1, (self.columns, -1)) @ u.T).flatten(-2)  # (..., columns·r)
        wide = self.dropout(narrow @ self.core().T).unflatten(-1, (self.rows, -1)) @ v.T
        return self.scale * wide.flatten(-2)


class PlanesLinear(DeltaLinear):
    """Subclasses give adapter_layer_names."""

    def update_layer(self, adapter_name: str, config: PlanesConfig, delta: BetweenPlanes) -> None:
        self.add(adapter_name, delta, config)


class PlanesModel(LinearTuner):
    """Subclasses give prefix, tuner_layer_cls, delta_cls, and planes_cls if layers share more."""

    delta_cls: type[BetweenPlanes]
    planes_cls: type[Planes] = Planes

    def _add_adapter(self, layer: PlanesLinear, adapter_name: str, config: PlanesConfig, name: str) -> None:
        planes = find_shared(self, adapter_name)
        owner = planes is None
        if owner:
            planes = self.planes_cls(min(layer.out_features, layer.in_features), config.r)
        width = len(planes.v)
        if layer.out_features % width or layer.in_features % width:
            raise UserError(
                f"{name}, of {layer.out_features}×{layer.in_features}, is not made of blocks of {width}×{width}, the "
                "width of the first layer: target_modules has to leave it out"
            )
        blocks = layer.out_features // width, layer.in_features // width
        layer.update_layer(adapter_name, config, self.delta_cls(planes, owner, *blocks, config))
