"""Count the parameters that a method trains and must store. Head and backbone are counted separately."""

import surm_bench.system.torchvision_stub  # noqa: F401

# isort: split
from peft.utils.other import ModulesToSaveWrapper
from torch import nn

from surm_bench.adapters.roles import select
from surm_bench.adapters.stored import num_spared
from surm_bench.structured import StructuredMatrix

BASELINE_RANK = 8  # rank of the baseline, LoRA on q and v


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Count the parameters of a model wrapped by PEFT.

    Returns:
        adapter: trained parameters without the head. head: trained parameters in modules_to_save. other: the frozen
        rest of the backbone. total: the sum of adapter, head and other, the parameters of the running model.
        stored: numbers to keep per task to serve the adapter, without the head. stored is less than adapter if a
        method trains more numbers than it needs (a circulant keeps d of 2d numbers). Numbers that are drawn from a
        seed or taken from the backbone, and are not trained, are counted nowhere.
    """
    wrappers = [m for m in model.modules() if isinstance(m, ModulesToSaveWrapper)]
    head = {id(p): p.numel() for w in wrappers for p in w.modules_to_save.parameters()}
    replaced = {id(p) for w in wrappers for p in w.original_module.parameters()}
    rest = [p for p in model.parameters() if id(p) not in head and id(p) not in replaced]
    adapter = sum(p.numel() for p in rest if p.requires_grad)
    other = sum(p.numel() for p in rest if not p.requires_grad)
    spared = sum(m.num_parameters - m.num_stored for m in model.modules() if isinstance(m, StructuredMatrix))
    spared += num_spared(model)
    return {
        "adapter": adapter,
        "head": sum(head.values()),
        "other": other,
        "total": adapter + sum(head.values()) + other,
        "stored": adapter - spared,
    }


def lora_parameters(model: nn.Module, roles: dict[str, list[str]], r: int = BASELINE_RANK) -> int:
    """Count the parameters that LoRA of rank r on q and v trains: r·(in + out) a layer (Hu et al., 2021)."""
    layers = (model.get_submodule(name) for name in select(roles, ("q", "v")))
    return sum(r * (layer.in_features + layer.out_features) for layer in layers)
