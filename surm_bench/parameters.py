"""How many parameters a method trains, and how many it must store. The head and the backbone are counted apart."""

import surm_bench.torchvision_stub  # noqa: F401

# isort: split
from peft.utils.other import ModulesToSaveWrapper
from torch import nn

from surm_bench.adapters.stored import num_spared
from surm_bench.roles import select
from surm_bench.structured import StructuredMatrix

BASELINE_RANK = 8  # of the LoRA on q and v that every method is compared with


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Counts of a model that PEFT has wrapped.

    Returns:
        adapter: trained, the head left out. head: trained in modules_to_save. other: the frozen rest of the backbone.
        total: the sum of these, which is what runs. stored: what has to be kept per task to serve the adapter,
        without the head; fewer than adapter where training overparametrises (a circulant keeps d of 2d numbers).
        Nowhere counted is what is drawn from a seed, or taken from the backbone, and not trained.
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
    """What LoRA of rank r on q and v trains on the plain backbone: r·(in + out) a layer (Hu et al., 2021)."""
    layers = (model.get_submodule(name) for name in select(roles, ("q", "v")))
    return sum(r * (layer.in_features + layer.out_features) for layer in layers)


def compare_with_lora(parameters: dict[str, int], lora: int) -> dict[str, str | int | float | None]:
    """The ``baseline`` part of a record: ratio says how many times fewer adapter parameters than LoRA are trained."""
    adapter = parameters["adapter"]
    return {"method": "lora", "r": BASELINE_RANK, "parameters": lora, "ratio": lora / adapter if adapter else None}
