"""Measure how training changed the backbone's weights: for each layer, the size and the rank of the change."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn

from surm_bench.adapters.roles import find_roles
from surm_bench.adapters.targets import backbone_names
from surm_bench.adapters.tuner_layer import Unmergeable
from surm_bench.errors import UserError

LEADING = 8  # singular values kept
NEGLIGIBLE = 0.01  # fraction of the first singular value; smaller values do not count for the numerical rank
MOVED = ("pissa", "olora", "corda")  # PEFT's LoRA initialisations that subtract a part from the frozen weight


@torch.no_grad()
def original_weights(model: PeftModel) -> dict[str, Tensor]:
    """Copy the weights that training will overwrite, by the names of their layers, for ``weight_changes``.

    Weights that stay frozen are not copied.
    """
    moved = any(
        str(getattr(config, "init_lora_weights", "")).startswith(MOVED) for config in model.peft_config.values()
    )
    return {
        name: _weight(layer).clone()
        for name, layer in _linears(model).items()
        if (moved if isinstance(layer, BaseTunerLayer) else layer.weight.requires_grad)
    }


@torch.no_grad()
def weight_changes(model: PeftModel, original: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Describe the change ΔW of every Linear weight W that differs from the original, in the order of the model.

    ΔW is the matrix that merging the active adapters of any method adds, or the trained weight minus the original
    weight. The head is left out because it has no original. Adapters that do not change a weight (bottlenecks) are left
    out too. The model is not modified.

    Args:
        original: the result of ``original_weights`` before training.

    Returns:
        For each layer: ``layer``, its name in the backbone; ``role``, None in an architecture without roles; ``norm``
        and ``weight_norm``, ‖ΔW‖ and ‖W‖ (Frobenius); ``stable_rank``, ‖ΔW‖² over the square of its largest singular
        value; ``singular_values``, the eight largest; ``rank``, the number of singular values above 1 % of the largest;
        ``cosine_distance``, 1 − cos of the angle between W + ΔW and W as vectors.

    Raises:
        ValueError: adapters are merged into the weights.
    """
    roles, rows = _roles(model), []
    for name, layer in _linears(model).items():
        adapted = isinstance(layer, BaseTunerLayer)
        if not adapted and name not in original:
            continue  # frozen
        if adapted and layer.merged:
            raise ValueError(f"adapters are merged into {name}: call unmerge_adapter() first")
        weight = original[name] if name in original else layer.get_base_layer().weight
        changed = _weight(layer)
        changed = changed.to(_exact(changed.device)).double()
        weight = weight.to(changed)  # the original was copied before the model moved to its device
        if not torch.equal(weight, changed):
            rows.append({"layer": name, "role": roles.get(name), **_describe(weight, changed)})
    return rows


def _linears(model: PeftModel) -> dict[str, nn.Module]:
    """Return every Linear of the backbone, or the adapter layer around the Linear, by its name in the backbone."""
    found, inside = {}, ()
    for name, module in model.get_base_model().named_modules():
        if name.startswith(inside):
            continue
        if isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper):
            inside += (f"{name}.",)
        base = module.get_base_layer() if isinstance(module, BaseTunerLayer) else module
        if isinstance(base, nn.Linear) and not isinstance(module, Unmergeable):
            found[name] = module
    return found


def _weight(layer: nn.Module) -> Tensor:
    """Return the layer's effective weight.

    Adapters are merged in a copy, because PEFT's own unmerging is not exact, and in fp64 (parts that layers share in
    their own precision).
    """
    if not isinstance(layer, BaseTunerLayer):
        return layer.weight
    twin = copy.deepcopy(layer).to(_exact(layer.get_base_layer().weight.device)).double()
    twin.merge()
    return twin.get_base_layer().weight


def _exact(device: torch.device) -> torch.device:
    """Return the device for fp64 computations: the CPU instead of MPS, which has no fp64."""
    return torch.device("cpu") if device.type == "mps" else device


def _describe(weight: Tensor, changed: Tensor) -> dict[str, Any]:
    change = changed - weight
    norm, singular = change.norm().item(), torch.linalg.svdvals(change.float()).double()
    cosine = nn.functional.cosine_similarity(changed.flatten(), weight.flatten(), dim=0, eps=0.0)
    return {
        "norm": norm,
        "weight_norm": weight.norm().item(),
        "stable_rank": (norm / singular[0].item()) ** 2,
        "singular_values": singular[:LEADING].tolist(),
        "rank": int((singular > NEGLIGIBLE * singular[0]).sum()),
        "cosine_distance": 1 - cosine.item(),
    }


def _roles(model: PeftModel) -> dict[str, str]:
    try:
        roles = find_roles(backbone_names(model.get_base_model()))
    except UserError:
        return {}
    return {name: role for role, members in roles.items() for name in members}
