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

from surm_bench.adapters.delta import Delta
from surm_bench.adapters.site import Shared, Sharing, Site
from surm_bench.adapters.tuner_config import TunerConfig
from surm_bench.errors import UserError


@dataclass
class PlanesConfig(TunerConfig):
    """Fields common to the methods with planes. Without target_modules, all Linears of a layer are adapted."""

    r: int = field(default=16, metadata={"help": "the planes' dimension", "least": 1})
    scale: float = field(default=1.0, metadata={"help": "factor on the delta"})
    dropout: float = field(
        default=0.1, metadata={"help": "probability of dropout between the core and V", "least": 0, "below": 1}
    )

    usual_roles = ("q", "k", "v", "o", "fc1", "fc2")


class Planes(nn.Module):
    """U and V, which all layers share. Subclasses may add other shared parameters."""

    def __init__(self, width: int, r: int):
        super().__init__()
        self.u = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(r, width), a=math.sqrt(5)))
        self.v = nn.Parameter(torch.zeros(width, r))


class BetweenPlanes(Sharing, Delta):
    """The delta scale·V·M·U of one layer, in rows × columns blocks of the planes' width. Subclasses define core."""

    def __init__(self, planes: Shared, blocks: tuple[int, int], config: PlanesConfig):
        super().__init__(planes)
        (self.rows, self.columns), self.r, self.scale = blocks, config.r, config.scale
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
        core = self.core()
        u, v = self.shared.u.to(core), self.shared.v.to(core)
        narrow = (x.unflatten(-1, (self.columns, -1)) @ u.T).flatten(-2)  # (..., columns·r)
        wide = self.dropout(narrow @ core.T).unflatten(-1, (self.rows, -1)) @ v.T
        return self.scale * wide.flatten(-2)


def between_planes(
    delta_cls: type[BetweenPlanes], planes_cls: type[Planes], site: Site, config: PlanesConfig
) -> BetweenPlanes:
    """Return the delta of a layer between planes that all layers share. The first layer gives the planes' width.

    Raises:
        UserError: the layer is not made of blocks of that width.
    """
    shared = site.share(lambda: planes_cls(min(site.shape), config.r))
    width = len(shared.module.v)
    rows, columns = site.shape
    if rows % width or columns % width:
        raise UserError(
            f"{site.layer_name}, of {rows}×{columns}, is not made of blocks of {width}×{width}, the width of the first "
            "layer: target_modules has to leave it out"
        )
    return delta_cls(shared, (rows // width, columns // width), config)
