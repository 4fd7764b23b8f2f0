"""Modules that several layers of one adapter share: saved, moved and counted once."""

from collections.abc import Callable

from torch import nn

from surm_bench.adapters.tuner import LinearTuner, tuner_layers


class Sharing(nn.Module):
    """The part of an adapter in one layer, which uses a module shared with other layers.

    One layer owns the shared module, and the other layers only refer to it. The shared module is on its owner's device.
    A layer on another device copies the shared module's tensors to its own device when it computes.
    """

    def __init__(self, shared: nn.Module, owner: bool):
        super().__init__()
        self.owned = shared if owner else None
        self._shared = (shared,)  # inside a tuple, the module is not registered as a submodule

    @property
    def shared(self) -> nn.Module:
        """The shared module."""
        return self._shared[0]


def find_shared(
    tuner: LinearTuner, adapter_name: str, among: Callable[[str], bool] = lambda name: True
) -> nn.Module | None:
    """Return the shared module of an adapter, or None if no layer has this module yet.

    Args:
        among: returns whether to look in the layer of that name.
    """
    for name, layer in tuner_layers(tuner.model, tuner.tuner_layer_cls).items():
        if among(name) and adapter_name in layer.adapters:
            return layer.adapters[adapter_name].shared
    return None
