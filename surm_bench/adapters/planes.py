"""Deltas between two planes that all layers share: ΔW = scale·V·M·U with a small core M for each layer.

U is (r, d) and V is (d, r), where d is the width of the model. A layer whose input or output is several times as wide,
such as the layers of an MLP, has one core for each of its d×d blocks. U is initialised like the weight of a Linear and
V with zeros.
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
    """Fields common to the methods with planes. Without target_modules, all Linears of a layer are adapted."""

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
    """U and V, which all layers share. Subclasses may add other shared parameters."""

    def __init__(self, width: int, r: int):
        super().__init__()
        self.u = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(r, width), a=math.sqrt(5)))
        self.v = nn.Parameter(torch.zeros(width, r))


class BetweenPlanes(Sharing, Delta):
    """The delta scale·V·M·U of one layer, in rows × columns blocks of the planes' width. Subclasses define core."""

    def __init__(self, planes: Planes, owner: bool, rows: int, columns: int, config: PlanesConfig):
        super().__init__(planes, owner)
        self.rows, self.columns, self.r, self.scale = rows, columns, config.r, config.scale
        self.dropout = nn.Dropout(config.dropout)

    @abstractmethod
    def core(self) -> Tensor:
        """Return M, (rows·r, columns·r)."""

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
    """A Linear with a delta between planes. Subclasses define adapter_layer_names."""

    def update_layer(self, adapter_name: str, config: PlanesConfig, delta: BetweenPlanes) -> None:
        self.add(adapter_name, delta, config)


class PlanesModel(LinearTuner):
    """PEFT's model class of a method with planes.

    Subclasses define prefix, tuner_layer_cls and delta_cls, and planes_cls if layers share more than U and V.
    """

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
