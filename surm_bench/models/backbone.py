"""Build a backbone of the family text or vision from its configuration."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from surm_bench.adapters.roles import find_roles
from surm_bench.config import ModelConfig
from surm_bench.models.families import family_of


@dataclass(frozen=True)
class Backbone:
    """A model ready to be adapted.

    Attributes:
        module: ``module(**inputs)`` returns logits (batch, num_labels), or an object with the logits as ``.logits``.
        roles: maps a role to module names, see :mod:`surm_bench.adapters.roles`.
        processor: for text the tokenizer; for vision a function PIL image -> float tensor (channels, height, width).
    """

    module: nn.Module
    roles: dict[str, list[str]]
    processor: Callable


def build_backbone(config: ModelConfig, num_labels: int) -> Backbone:
    """Load pretrained weights and draw a new head. Seed torch before the call, because the head is random.

    Raises:
        UserError: the family or source is unknown, weights are missing or have another architecture, or the hub is out
            of reach.
    """
    module, processor = family_of(config).build(config, num_labels)
    return Backbone(module, find_roles(name for name, _ in module.named_modules()), processor)


def build_skeleton(config: ModelConfig, num_labels: int) -> nn.Module:
    """Build the module on the meta device, for shapes and counts; this needs no hub and no weights."""
    return family_of(config).skeleton(config, num_labels)
