"""SSF as a PEFT method: y ← γ⊙y + β after every Linear and every norm of the backbone.

Lian et al., 2022, arXiv 2210.08823. The initialisation follows the authors' code (dongzelian/SSF), γ ~ N(1, 0.02²) and
β ~ N(0, 0.02²), so that training does not start at the backbone's own outputs. The trained parameter here is γ − 1. The
authors' code also has γ and β after the patch embedding. This module omits both, because text models have no patch
embedding.
"""

from dataclasses import dataclass

from torch import nn

from surm_bench.adapters.elementwise import Elementwise, ElementwiseLayer
from surm_bench.adapters.register import register_method
from surm_bench.adapters.site import Site
from surm_bench.adapters.tuner_config import TunerConfig

INIT_STD = 0.02


@dataclass
class SsfConfig(TunerConfig):
    """Configuration of SSF. Without target_modules, adapters follow all Linears of the layers and all norms."""

    usual_roles = ("q", "k", "v", "o", "fc1", "fc2", "norm")

    def build(self, site: Site) -> nn.Module:
        adapter = Elementwise(site.layer.out_features)
        for parameter in adapter.parameters():
            nn.init.normal_(parameter, std=INIT_STD)
        return adapter

    def default_exclusions(self, model: nn.Module) -> list[str]:
        """Return the names of timm's placeholders for norms that the model does not have."""
        identities = (name for name, module in model.named_modules() if isinstance(module, nn.Identity))
        return [name for name in identities if "norm" in name.rpartition(".")[2]]


register_method("ssf", SsfConfig, ElementwiseLayer)
