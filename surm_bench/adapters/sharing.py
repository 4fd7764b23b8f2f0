"""Modules that several layers of one adapter share: saved, moved and counted once."""

from collections.abc import Callable

from torch import nn

from surm_bench.adapters.tuner import LinearTuner, tuner_layers


class Sharing(nn.Module):
    """The part of an adapter in one layer, which uses a module that other layers use too. One of them owns it, the
    others only refer to it. It is where its owner is: a layer on another device brings it there when it computes."""

    def __init__(self, shared: nn.Module, owner: bool):
        super().__init__()
        self.owned = shared if owner else None
        self._shared = (shared,)  # in a tuple it is no submodule

    @property
    def shared(self) -> nn.Module:
        """The shared module."""
        return self._shared[0]


def find_shared(
    tuner: LinearTuner, adapter_name: str, among: Callable[[str], bool] = lambda name: True
) -> nn.Module | None:
    """The shared module of an adapter, if a layer has it already.

    Args:
        among: whether a layer of that name is asked.
    """
    for name, layer in tuner_layers(tuner.model, tuner.tuner_layer_cls).items():
        if among(name) and adapter_name in layer.adapters:
            return layer.adapters[adapter_name].shared
    return None
