"""AdaptFormer as a PEFT method: a bottleneck beside the MLP, MLP(x) + scale·(W_up·relu(W_down·x + b_down) + b_up).

Chen et al., 2022, arXiv 2205.13535; width, scale, start and dropout (on the bottleneck) as in the authors' code
(ShoufaChen/AdaptFormer). x is the input of the MLP. On a ViT this input comes after the norm, as in the paper's
equation; the authors' code takes the input before the norm. On BERT, which normalises after each block, both are equal.
The authors' code adds the bottleneck's output after the backbone has processed the MLP's output. Here timm's LayerScale
and drop_path, where a ViT has them, act on the sum, so that a LayerScale of 1e-5 almost removes the adapter.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from surm_bench.adapters.base_layer import kind
from surm_bench.adapters.register import register_method
from surm_bench.adapters.residual_layer import Branch
from surm_bench.adapters.site import Site
from surm_bench.adapters.tuner_config import TunerConfig
from surm_bench.adapters.tuner_layer import Unmergeable
from surm_bench.errors import UserError


@dataclass
class AdaptFormerConfig(TunerConfig):
    """Configuration of AdaptFormer. Without target_modules, every MLP gets an adapter beside it."""

    bottleneck: int = field(default=64, metadata={"help": "width of the bottleneck", "least": 1})
    scale: float = field(default=0.1, metadata={"help": "factor on the bottleneck's output"})
    dropout: float = field(
        default=0.1, metadata={"help": "probability of dropout inside the bottleneck", "least": 0, "below": 1}
    )

    usual_roles = ("mlp",)

    def build(self, site: Site) -> Branch:
        return ScaledBottleneck(site.layer.out_features, self)


class ScaledBottleneck(Branch):
    """scale·(W_up·dropout(relu(W_down·x + b_down)) + b_up) on x of shape (..., features); W_up, biases start at 0."""

    def __init__(self, features: int, config: AdaptFormerConfig):
        super().__init__()
        self.scale = config.scale
        self.down = nn.Linear(features, config.bottleneck)
        self.dropout = nn.Dropout(config.dropout)
        self.up = nn.Linear(config.bottleneck, features)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.up(self.dropout(torch.relu(self.down(x))))


class ParallelMlp(Unmergeable):
    """A module of role mlp with the active adapters beside it; the adapters take the module's last input, x."""

    @staticmethod
    def check_base(module: nn.Module, name: str, model: nn.Module) -> nn.Module:
        """Return the module if it contains a Linear and is not a Linear itself; raise UserError otherwise."""
        if isinstance(module, nn.Linear) or not any(isinstance(inner, nn.Linear) for inner in module.modules()):
            raise UserError(f"target module {name!r} is a {kind(module)}, not the module of an MLP")
        return module

    def __init__(self, base_layer: nn.Module):
        super().__init__(base_layer)
        last = [module for module in base_layer.modules() if isinstance(module, nn.Linear)][-1]
        self.in_features = self.out_features = last.out_features

    def forward(self, *inputs: Tensor) -> Tensor:
        """Compute timm's Mlp(x) or BERT's Output(hidden, x), plus the adapters' outputs.

        BERT's Output ends in LayerNorm(dense(hidden) + x), so a term added to x is a term beside the MLP.
        """
        *hidden, x = inputs
        if hidden:
            return self.base_layer(*hidden, self.plus_outputs(x, x))
        return self.plus_outputs(self.base_layer(x), x)


register_method("adaptformer", AdaptFormerConfig, ParallelMlp)
