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
from peft.utils import PeftType
from torch import Tensor, nn

from surm_bench.adapters.residual import Answer
from surm_bench.adapters.roles import attention_heads, check_not_fused
from surm_bench.adapters.tuner import LinearTuner, LinearTunerLayer, TunerConfig, Unmergeable, check_positive, register
from surm_bench.errors import UserError

QUERIES = ("q", "query", "q_proj")  # the last part of a query projection's name, in timm and transformers
STD = 0.02


@dataclass
class LoraPevitConfig(TunerConfig):
    """Configuration of LoRA as PEViT computes it. Without target_modules, query and value projections are adapted."""

    r: int = field(default=4, metadata={"help": "rank; r·(in + out) parameters a layer"})
    alpha: float = field(default=128.0, metadata={"help": "the scale is alpha/r"})
    heads: int | None = field(default=None, metadata={"help": "of the attention; None takes what the model says"})

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = PeftType.LORA_PEVIT
        check_positive(self, "r")

    def default_roles(self) -> tuple[str, ...]:
        return ("q", "v")


class MixedLora(Answer):
    """scale·B·A·x on x of shape (batch, tokens, in_features), with the output's heads mixed over tokens and batch."""

    def __init__(self, in_features: int, out_features: int, scale: float, r: int, heads: int):
        super().__init__()
        self.scale, self.heads = scale, heads
        self.a = nn.Parameter(STD * torch.randn(r, in_features))
        self.b = nn.Parameter(torch.zeros(out_features, r))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * mixed(x @ self.a.T @ self.b.T, self.heads)


def mixed(answer: Tensor, heads: int) -> Tensor:
    """Rearrange the numbers of an output as PEViT's reshape does: (batch, tokens, width) → (batch, tokens, width)."""
    batch, tokens, width = answer.shape
    in_heads = answer.transpose(0, 1).reshape(batch, heads, tokens, width // heads)
    return in_heads.transpose(1, 2).reshape(batch, tokens, width)


class LoraPevitLinear(Unmergeable, LinearTunerLayer):
    """A frozen Linear plus the mixed outputs of its active adapters."""

    adapter_layer_names = ("lora_pevit_adapter",)

    def update_layer(self, adapter_name: str, config: LoraPevitConfig, heads: int, is_query: bool) -> None:
        if self.out_features % heads:
            raise UserError(f"heads={heads} does not divide a layer's {self.out_features} outputs")
        scale = config.alpha / config.r * (math.sqrt(self.out_features // heads) if is_query else 1)
        self.add(adapter_name, MixedLora(self.in_features, self.out_features, scale, config.r, heads), config)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(batch, tokens, in_features) → (batch, tokens, out_features); the other arguments go to the base layer.

        Raises:
            UserError: x does not have three dimensions.
        """
        if x.dim() != 3:
            raise UserError(
                f"lora_pevit mixes over tokens and batch: it takes (batch, tokens, width), not {tuple(x.shape)}"
            )
        return self.answered(self.base_layer(x, *args, **kwargs), x)


class LoraPevitModel(LinearTuner):
    """PEFT's model class of the method; made by ``get_peft_model(model, LoraPevitConfig(...))``."""

    prefix = "lora_pevit_"
    tuner_layer_cls = LoraPevitLinear

    def _add_adapter(self, layer: LoraPevitLinear, adapter_name: str, config: LoraPevitConfig, name: str) -> None:
        check_not_fused(name, layer.in_features, layer.out_features)
        heads = config.heads or attention_heads(self.model.modules())
        layer.update_layer(adapter_name, config, heads, is_query=name.rpartition(".")[2] in QUERIES)


register("lora_pevit", LoraPevitConfig, LoraPevitModel)
