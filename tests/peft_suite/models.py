"""The tiny models with random weights that PEFT's tests take from the hub, made here."""

from pathlib import Path

import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
)

ENCODER = {
    "vocab_size": 1024,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
}
BART = {
    "vocab_size": 1024,
    "d_model": 32,
    "max_position_embeddings": 512,
    **{f"{side}_layers": 2 for side in ("encoder", "decoder")},
    **{f"{side}_attention_heads": 4 for side in ("encoder", "decoder")},
    **{f"{side}_ffn_dim": 64 for side in ("encoder", "decoder")},
}
MODELS: dict[type[PreTrainedModel], object] = {
    BertModel: BertConfig(**ENCODER),
    BertForSequenceClassification: BertConfig(**ENCODER),
    RobertaModel: RobertaConfig(**ENCODER),
    RobertaForSequenceClassification: RobertaConfig(**ENCODER),
    OPTForCausalLM: OPTConfig(**ENCODER, ffn_dim=64, word_embed_proj_dim=32),
    BartForConditionalGeneration: BartConfig(**BART),
}


def make_models(folder: Path) -> None:
    """Save each model, unless it is there, where the tests find it as if it came from the hub: in the working folder
    under its name there."""
    for model_cls, config in MODELS.items():
        target = folder / "peft-internal-testing" / f"tiny-random-{model_cls.__name__}"
        if not target.exists():
            torch.manual_seed(0)
            model_cls(config).save_pretrained(target)
