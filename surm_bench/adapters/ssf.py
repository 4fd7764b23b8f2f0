"""SSF as a PEFT method: y ← γ⊙y + β after every Linear and every norm of the backbone.

Lian et al., 2022, arXiv 2210.08823. The initialisation follows the authors' code (dongzelian/SSF), γ ~ N(1, 0.02²) and
β ~ N(0, 0.02²), so that training does not start at the backbone's own outputs. The trained parameter here is γ − 1. The
authors' code also has γ and β after the patch embedding. This module omits both, because text models have no patch
embedding.
"""

from dataclasses import dataclass
from typing import Any

from peft.utils import PeftType
from torch import nn

from surm_bench.adapters.hadamard import Elementwise, HadamardLayer, HadamardModel
from surm_bench.adapters.tuner import TunerConfig, register

INIT_STD = 0.02


@dataclass
class SsfConfig(TunerConfig):
    """Configuration of SSF. Without target_modules, adapters follow all Linears of the layers and all norms."""

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = PeftType.SSF

    def default_roles(self) -> tuple[str, ...]:
        return ("q", "k", "v", "o", "fc1", "fc2", "norm")


class SsfLayer(HadamardLayer):
    adapter_layer_names = ("ssf_adapter",)

    def update_layer(self, adapter_name: str, config: SsfConfig) -> None:
        adapter = Elementwise(self.out_features)
        for parameter in adapter.parameters():
            nn.init.normal_(parameter, std=INIT_STD)
        self.add(adapter_name, adapter, config)


class SsfModel(HadamardModel):
    """PEFT's model class of the method; made by ``get_peft_model(model, SsfConfig(...))``."""

    prefix = "ssf_"
    tuner_layer_cls = SsfLayer

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        config = self.peft_config[adapter_name]
        if config.exclude_modules is None:  # timm's placeholders for norms that the model does not have
            config.exclude_modules = [
                name
                for name, module in model.named_modules()
                if isinstance(module, nn.Identity) and "norm" in name.rpartition(".")[2]
            ] or None
        super().inject_adapter(model, adapter_name, *args, **kwargs)


register("ssf", SsfConfig, SsfModel)
