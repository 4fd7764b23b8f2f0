"""Modules that several layers of one adapter share: saved, moved and counted once."""

from torch import nn

from surm_bench.adapters.targets import place
from surm_bench.adapters.tuner import TunerLayer


class Sharing(nn.Module):
    """The part of an adapter in one layer, which uses a module that other layers use too. One of them owns it, the
    others only refer to it."""

    def __init__(self, shared: nn.Module, owner: bool):
        super().__init__()
        self.owned = shared if owner else None
        self._shared = (shared,)  # in a tuple it is no submodule

    @property
    def shared(self) -> nn.Module:
        """The shared module."""
        return self._shared[0]


def find_shared(model: nn.Module, adapter_name: str, like: str | None = None) -> nn.Module | None:
    """The shared module of an adapter, if a layer has it already.

    Args:
        like: a layer's name; only the layers that play its part elsewhere in the stack are asked.
    """
    for name, module in model.named_modules():
        asked = isinstance(module, TunerLayer) and (like is None or place(name) == place(like))
        if asked and adapter_name in module.adapters:
            return module.adapters[adapter_name].shared
    return None
