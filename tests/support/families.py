"""Small backbones of the four families of models with random weights, and every adapter's configuration."""

from functools import cache

import timm
import torch
from peft import PeftModel
from support.runs import ADAPTERS
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

from surm_bench.adapters.training_hooks import training_hooks
from surm_bench.config import AdapterConfig, Config
from surm_bench.config.composition import choices, read_files, resolved
from surm_bench.models import split_qkv
from surm_bench.training import Hooks, forward

TEXT = {
    "vocab_size": 60,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 40,
    "num_labels": 3,
    "initializer_range": 0.1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
IMAGE = {"img_size": 32, "embed_dim": 64, "depth": 2, "num_heads": 4, "num_classes": 3}
TEXT_ONLY = ("prefix",)
OVERRIDES = {"adapter_drop": ["adapter.first_layer=1"]}  # of two layers
# These methods find modules by their place in a layer, not by the roles q and v alone.
PLACED = ("adapter_houlsby", "adapter_pfeiffer", "adaptformer", "bitfit", "fact", "hadamard", "repadapter", "ssf")


def vit(name: str) -> nn.Module:
    module = timm.create_model(name, **IMAGE)
    split_qkv(module)
    return module


FAMILIES = {
    "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**TEXT)),
    "bert": lambda: BertForSequenceClassification(BertConfig(**TEXT)),
    "vit": lambda: vit("vit_base_patch16_224"),
    "clip": lambda: vit("vit_base_patch16_clip_quickgelu_224"),
}


def backbone(family: str) -> nn.Module:
    torch.manual_seed(0)
    return FAMILIES[family]().eval()


def inputs(family: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    if family in ("roberta", "bert"):
        return {"input_ids": torch.randint(3, 60, (6, 11), generator=generator)}
    return {"x": torch.randn(6, 3, 32, 32, generator=generator)}


def logits(model: nn.Module, family: str) -> torch.Tensor:
    with torch.no_grad():
        return forward(model.eval(), inputs(family))


@cache
def composed(*overrides: str) -> Config:
    """Return the settings of a command line. Composed only once."""
    read_files(f"adapter={name}" for name in choices("adapter"))  # all in one call of Hydra
    return resolved(overrides)


def adapter_config(name: str) -> AdapterConfig:
    return composed(f"adapter={name}", *OVERRIDES.get(name, [])).adapter


def fits(adapter: str, family: str) -> bool:
    return family in ("roberta", "bert") or adapter not in TEXT_ONLY


def in_every_run(adapter: str, family: str) -> bool:
    """Whether the fast tests try this pair: every adapter on one family, each class of adapters on text and images,
    and methods that find modules by their place on all four families."""
    first = "vit" if fits(adapter, "vit") else "bert"
    return family == first or adapter in PLACED or (family == "bert" and adapter in ADAPTERS)


def two_steps(model: PeftModel, family: str) -> None:
    hooks = training_hooks(model) or Hooks()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    hooks.begin(2)
    model.train()
    for step in (1, 2):
        loss = nn.functional.cross_entropy(forward(model, inputs(family)), torch.arange(6) % 3)
        (loss + hooks.penalty()).backward()
        optimizer.step()
        hooks.after_step(step)
        optimizer.zero_grad()
