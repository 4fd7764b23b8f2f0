"""The site of a new adapter, and modules that several layers of one adapter share: saved, moved and counted once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from surm_bench.adapters.roles import attention_heads, check_not_fused
from surm_bench.adapters.tuner_layer import TunerLayer, tuner_layers
from surm_bench.errors import UserError


class Shared(NamedTuple):
    """A module that several layers share, and whether the new layer is the first one, which owns it."""

    module: nn.Module
    is_owner: bool


class Sharing(nn.Module):
    """The part of an adapter in one layer, which uses a module shared with other layers.

    One layer owns the shared module, and the other layers only refer to it. The shared module is on its owner's device.
    A layer on another device copies the shared module's tensors to its own device when it computes.
    """

    def __init__(self, shared: Shared):
        super().__init__()
        self.owned = shared.module if shared.is_owner else None
        self._shared = (shared.module,)  # inside a tuple, the module is not registered as a submodule

    @property
    def shared(self) -> nn.Module:
        """The shared module."""
        return self._shared[0]


@dataclass(frozen=True)
class Site:
    """The layer for which a method builds an adapter, and the model around this layer."""

    layer: TunerLayer
    layer_name: str  # in the model
    model: nn.Module
    adapter_name: str

    @property
    def shape(self) -> tuple[int, int]:
        """The layer's output and input features."""
        return self.layer.out_features, self.layer.in_features

    def heads(self, given: int | None, features: int) -> int:
        """Return the number of attention heads that split these features: the given number, or the model's.

        Raises:
            UserError: q, k and v are fused in the layer, the model's number is unknown, or it does not divide.
        """
        rows, columns = self.shape
        check_not_fused(self.layer_name, columns, rows)
        heads = given or attention_heads(self.model.modules())
        if features % heads:
            raise UserError(f"heads={heads} does not divide {features}, the features of {self.layer_name} to split")
        return heads

    def share(self, make: Callable[[], nn.Module], among: Callable[[str], bool] = lambda name: True) -> Shared:
        """Return the module that the adapter's layers share. The first layer makes it.

        Args:
            among: returns whether the layer of that name shares the same module.
        """
        for name, layer in tuner_layers(self.model, type(self.layer)).items():
            if among(name) and self.adapter_name in layer.adapters:
                return Shared(layer.adapters[self.adapter_name].shared, is_owner=False)
        return Shared(make(), is_owner=True)
