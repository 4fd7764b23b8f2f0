"""A backbone from its configuration: one of two families, text or vision."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from transformers import AutoModelForSequenceClassification

from surm_bench.config import ModelConfig
from surm_bench.errors import unknown
from surm_bench.models import text, vision
from surm_bench.roles import find_roles

FAMILIES = {"text": text, "vision": vision}


@dataclass(frozen=True)
class Backbone:
    """A model ready to be adapted.

    Attributes:
        module: ``module(**inputs)`` returns logits (batch, num_labels), or an object that has them as ``.logits``.
        roles: role -> module names, see :mod:`surm_bench.roles`.
        processor: text: the tokenizer; vision: PIL image -> float tensor (channels, height, width).
    """

    module: nn.Module
    roles: dict[str, list[str]]
    processor: Callable


def build_backbone(
    config: ModelConfig, num_labels: int, model_class: type = AutoModelForSequenceClassification
) -> Backbone:
    """Load pretrained weights under a freshly drawn head; seed torch before, for the head's sake.

    Args:
        model_class: of transformers, for text (surm_bench.tasks.Objective); models of images are timm's.

    Raises:
        UserError: unknown family or source, weights that are missing or of another architecture, hub out of reach.
    """
    module, processor = _family(config).build(config, num_labels, model_class)
    return Backbone(module, find_roles(name for name, _ in module.named_modules()), processor)


def build_skeleton(config: ModelConfig, num_labels: int) -> nn.Module:
    """The same module without values, on the meta device: shapes and counts, with no hub and no weights."""
    return _family(config).skeleton(config, num_labels)


def save_merged(
    module: nn.Module, config: ModelConfig, folder: Path, processor: Callable, label_names: Sequence[str] | None = None
) -> None:
    """Write a backbone without adapters into a folder, as its own library reads it: transformers, or timm.

    Args:
        module: trained, its adapters merged; changed in place.
        label_names: of the classes in order, where they are known.
    """
    _family(config).save(module, config, folder, processor, label_names)


def _family(config: ModelConfig):
    if config.family not in FAMILIES:
        raise unknown("model family", config.family, FAMILIES)
    return FAMILIES[config.family]
