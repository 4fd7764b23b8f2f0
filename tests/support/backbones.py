"""Small backbones, and the configuration of a model by its name."""

from pathlib import Path

import torch
from omegaconf import OmegaConf

from surm_bench.config import ModelConfig
from surm_bench.system.installation import config_dir

TOY = {
    **{"vocab_size": 12, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16},
    **{"max_position_embeddings": 20, "type_vocab_size": 1, "pad_token_id": 1},
}


def model_config(name: str, **changes) -> ModelConfig:
    merged = OmegaConf.merge(
        OmegaConf.structured(ModelConfig), OmegaConf.load(config_dir() / "model" / f"{name}.yaml"), changes
    )
    return OmegaConf.to_object(merged)


def numbers(module: torch.nn.Module, names: list[str]) -> int:
    """How many values the named submodules hold."""
    return sum(p.numel() for name in names for p in module.get_submodule(name).parameters())


def tiny_vit(**options) -> torch.nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    sizes = dict(img_size=16, patch_size=4, embed_dim=48, depth=3, num_heads=3, num_classes=5)
    return VisionTransformer(**{**sizes, **options}).eval()


def save_toy(folder: Path, model_type: str = "roberta", labels: int = 3, **changes) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

    torch.manual_seed(7)
    architecture = AutoConfig.for_model(model_type, **{**TOY, **changes}, num_labels=labels)
    AutoModelForSequenceClassification.from_config(architecture).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)
    return folder
