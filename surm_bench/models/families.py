"""The families of models: everything that differs between text and vision stands in the family's module.

A family's module has build, skeleton, save, download, head, hub_name, random_inputs and loading_lines, and the
constants LIBRARY (which loads exported models) and HAS_TOKENIZER.
"""

from importlib import import_module
from types import ModuleType

from surm_bench.config import ModelConfig
from surm_bench.errors import unknown

FAMILIES = ("text", "vision")  # modules beside this one; a run imports only its own: timm takes a second


def family_of(config: ModelConfig) -> ModuleType:
    """Return the module of a model's family; raises UserError if there is no such family."""
    if config.family not in FAMILIES:
        raise unknown("model.family", config.family, FAMILIES)
    return import_module(f"surm_bench.models.{config.family}")
