"""SSF as a PEFT method: y ← γ⊙y + β behind every Linear and every norm of the backbone.

Lian et al., 2022, arXiv 2210.08823; the start is that of the authors' code (dongzelian/SSF), γ ~ N(1, 0.02²) and
β ~ N(0, 0.02²), so that training does not begin at the backbone's own answers. What is trained here is γ − 1. The code
also has a γ and a β behind the embedding of patches, which text models have no match for: they are left out.
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
    """Configuration of SSF; without target_modules it goes behind all Linears of the layers and all norms."""

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
        if config.exclude_modules is None:  # timm's places of norms that the model does without
            config.exclude_modules = [
                name
                for name, module in model.named_modules()
                if isinstance(module, nn.Identity) and "norm" in name.rpartition(".")[2]
            ] or None
        super().inject_adapter(model, adapter_name, *args, **kwargs)


register("ssf", SsfConfig, SsfModel)
