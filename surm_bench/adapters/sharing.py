"""Modules that several layers of one adapter share: saved, moved and counted once."""

from collections.abc import Callable

from torch import nn

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


def find_shared(
    model: nn.Module, adapter_name: str, among: Callable[[str], bool] = lambda name: True
) -> nn.Module | None:
    """The shared module of an adapter, if a layer has it already.

    Args:
        among: whether a layer of that name is asked.
    """
    for name, module in model.named_modules():
        if isinstance(module, TunerLayer) and among(name) and adapter_name in module.adapters:
            return module.adapters[adapter_name].shared
    return None
