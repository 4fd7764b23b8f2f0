"""Layers with adapters around them: what they have in common in all our methods."""

from typing import ClassVar

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from surm_bench.adapters.targets import check_linear


class TunerLayer(nn.Module, BaseTunerLayer):
    """A layer with adapters of one method around it.

    ``register_method`` makes a subclass for each method and names the attribute that holds the adapters,
    ``adapter_layer_names[0]``: the method's name, "_" and ``content``.
    """

    content: ClassVar[str] = "adapter"
    merged_parameters: ClassVar[tuple[str, ...]] = ()  # the base layer's parameters that merging changes
    check_base = staticmethod(check_linear)  # (module, name, model) -> the module if it can be wrapped, or UserError

    def __init__(self, base_layer: nn.Module):
        super().__init__()
        self.base_layer = base_layer
        setattr(self, self.adapter_layer_names[0], nn.ModuleDict())
        self._disable_adapters = False
        self.merged_adapters = []

    @property
    def adapters(self) -> nn.ModuleDict:
        """The adapters of this layer, by their names."""
        return getattr(self, self.adapter_layer_names[0])

    def add(self, adapter_name: str, adapter: nn.Module, config: PeftConfig) -> None:
        """Store, cast and activate a new adapter."""
        base = next(self.get_base_layer().parameters(), None)  # a norm may have none
        if base is not None and not any(p.is_meta for p in adapter.parameters()):  # low_cpu_mem_usage: no values yet
            adapter = adapter.to(base.device)
        self.adapters[adapter_name] = adapter
        self.cast(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def cast(self, adapter_name: str, widen: bool = True) -> None:
        """Cast an adapter to fp32 (fp64 if the base layer is fp64); with widen=False, to the base layer's precision."""
        dtype = next(self.get_base_layer().parameters(), torch.empty(0)).dtype
        if widen and dtype != torch.float64:
            dtype = torch.float32
        if dtype.is_floating_point:  # False for quantised weights
            self.adapters[adapter_name].to(dtype)

    def active(self) -> list[str]:
        """Return the active adapters that this layer has."""
        return [name for name in self.active_adapters if name in self.adapters]

    def __repr__(self) -> str:
        return f"{self.adapter_layer_names[0].rpartition('_')[0]}." + super().__repr__()


class LinearTunerLayer(TunerLayer):
    """A Linear layer with adapters of one method around it."""

    merged_parameters = ("weight",)

    def __init__(self, base_layer: nn.Linear):
        super().__init__(base_layer)
        self.in_features = base_layer.in_features
        self.out_features = base_layer.out_features


class Unmergeable(TunerLayer):
    """A layer whose adapters cannot be merged, because they are not equivalent to a change of a weight."""

    merged_parameters = ()

    def plus_outputs(self, y: Tensor, x: Tensor) -> Tensor:
        """Return y plus the outputs of the active adapters for x."""
        for name in [] if self.disable_adapters else self.active():
            y = self.adapters[name].plus_output(y, x)
        return y

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Always raise NotImplementedError."""
        raise NotImplementedError("this adapter cannot be merged into a weight: keep it, or unload() it")

    def unmerge(self) -> None:
        """Do nothing, because nothing is ever merged."""


def tuner_layers(model: nn.Module, kind: type[TunerLayer] = TunerLayer) -> dict[str, TunerLayer]:
    """Return the model's layers with adapters of our methods, or of one method, around them, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, kind)}
