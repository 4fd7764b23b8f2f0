"""The tiny models with random weights that PEFT's tests take from the hub, made here."""

from pathlib import Path

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
)

SIZES = {
    "vocab_size": 1024,
    "hidden_size": 32,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
}
MODELS: list[tuple[type[PreTrainedModel], type]] = [
    (BertModel, BertConfig),
    (BertForSequenceClassification, BertConfig),
    (RobertaModel, RobertaConfig),
    (RobertaForSequenceClassification, RobertaConfig),
]


def make_models(folder: Path) -> None:
    """Save each model, unless it is there, where the tests find it as if it came from the hub: in the working folder
    under its name there."""
    for model_cls, config_cls in MODELS:
        target = folder / "peft-internal-testing" / f"tiny-random-{model_cls.__name__}"
        if not target.exists():
            torch.manual_seed(0)
            model_cls(config_cls(**SIZES)).save_pretrained(target)
