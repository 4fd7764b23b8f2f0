"""LoRA as KAdaptation's released code computes it, to compare with tables that used this code. This is not true LoRA.

He et al., 2022, arXiv 2203.16329; eric-ai-lab/PEViT at 8c9ab98, vision_benchmark/evaluation/lora_model.py, on CLIP's
image encoder. That code differs from LoRA in two points.

LoRA's output for the attention's input, (tokens, batch, width), is added to queries and values that are already split
into heads, (batch·heads, tokens, head size). A reshape brings the output to this shape, without the transposition that
was applied to the queries and values. The numbers added at a token therefore come from other tokens, of other images of
the batch. The prediction for an image depends on the other images of its batch, and a score depends on
trainer.eval_batch_size, which is therefore always the default.

The queries have been divided by √(head size) before, but LoRA's output has not. The output therefore counts √(head
size) times as much as in LoRA.

The rest is LoRA: A normal with deviation 0.02, B zero, scale alpha/r. The authors use r = 4 and alpha = 128.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from surm_bench.adapters.register import register_method
from surm_bench.adapters.residual_layer import Branch
from surm_bench.adapters.site import Site
from surm_bench.adapters.tuner_config import TunerConfig
from surm_bench.adapters.tuner_layer import LinearTunerLayer, Unmergeable
from surm_bench.errors import UserError

QUERIES = ("q", "query", "q_proj")  # the last part of a query projection's name, in timm and transformers
STD = 0.02


@dataclass
class LoraPevitConfig(TunerConfig):
    """Configuration of LoRA as PEViT computes it. Without target_modules, query and value projections are adapted."""

    r: int = field(default=4, metadata={"help": "rank; r·(in + out) parameters a layer", "least": 1})
    alpha: float = field(default=128.0, metadata={"help": "the scale is alpha/r"})
    heads: int | None = field(
        default=None, metadata={"help": "number of attention heads; None: the model's", "least": 1}
    )

    usual_roles = ("q", "v")

    def build(self, site: Site) -> Branch:
        rows, columns = site.shape
        heads = site.heads(self.heads, rows)
        is_query = site.layer_name.rpartition(".")[2] in QUERIES
        scale = self.alpha / self.r * (math.sqrt(rows // heads) if is_query else 1)
        return MixedLora(columns, rows, scale, self.r, heads)


class MixedLora(Branch):
    """scale·B·A·x on x of shape (batch, tokens, in_features), with the output's heads mixed over tokens and batch."""

    def __init__(self, in_features: int, out_features: int, scale: float, r: int, heads: int):
        super().__init__()
        self.scale, self.heads = scale, heads
        self.a = nn.Parameter(STD * torch.randn(r, in_features))
        self.b = nn.Parameter(torch.zeros(out_features, r))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * mixed(x @ self.a.T @ self.b.T, self.heads)


def mixed(output: Tensor, heads: int) -> Tensor:
    """Rearrange the numbers of an output as PEViT's reshape does: (batch, tokens, width) → (batch, tokens, width)."""
    batch, tokens, width = output.shape
    in_heads = output.transpose(0, 1).reshape(batch, heads, tokens, width // heads)
    return in_heads.transpose(1, 2).reshape(batch, tokens, width)


class MixedLinear(Unmergeable, LinearTunerLayer):
    """A frozen Linear plus the mixed outputs of its active adapters."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(batch, tokens, in_features) → (batch, tokens, out_features); the other arguments go to the base layer.

        Raises:
            UserError: x does not have three dimensions.
        """
        if x.dim() != 3:
            raise UserError(
                f"lora_pevit mixes over tokens and batch: it takes (batch, tokens, width), not {tuple(x.shape)}"
            )
        return self.plus_outputs(self.base_layer(x, *args, **kwargs), x)


register_method("lora_pevit", LoraPevitConfig, MixedLinear)
