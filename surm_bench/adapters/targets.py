"""The choice of layers to adapt: defaults by role, and clear errors for patterns that miss or are ambiguous."""

import copy
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from peft import PeftConfig
from peft.tuners.tuners_utils import check_target_module_exists
from torch import nn

from surm_bench.adapters.base_layer import kind
from surm_bench.adapters.roles import find_roles, layer_of, select
from surm_bench.errors import UserError


def role_targets(model: nn.Module, roles: Iterable[str], layers: Sequence[int] | int | None = None) -> list[str]:
    """Return the names of the modules that have the roles in the model, in the given layers or in all layers.

    PEFT itself applies layers_to_transform only to targets given by the end of their names, and ignores
    layers_to_transform for targets given by their full names.

    Raises:
        UserError: no family of roles fits the model, or the model has none of the layers.
    """
    names = select(find_roles(backbone_names(model)), roles)
    if layers is None or layers == []:
        return names
    wanted = {layers} if isinstance(layers, int) else set(layers)
    chosen = [name for name in names if layer_of(name) in wanted]
    if not chosen:
        there = sorted({layer for name in names if (layer := layer_of(name)) is not None})
        raise UserError(
            f"layers_to_transform={layers} is not possible: this model has layers {there[0]} to {there[-1]}"
        )
    return chosen


def backbone_names(model: nn.Module) -> list[str]:
    """Return the names that the model's modules had before adapters were put around some modules."""
    return list(dict.fromkeys(name.replace(".base_layer", "") for name, _ in model.named_modules()))


def check_targets(config: PeftConfig, model: nn.Module) -> None:
    """Refuse a target that matches nothing, and a name that matches different places of a layer.

    PEFT matches names by their end, so ``output.dense`` matches two places of every RoBERTa layer. PEFT also ignores a
    name without any match if another name has a match. Both change the method silently. A module that exclude_modules
    leaves out counts as a match, but not as a place.

    Raises:
        UserError: a target matches nothing or is ambiguous. The message lists the linear layers of the model, or the
            matched places in the form ``layer.N.…``.
    """
    targets = config.target_modules
    if targets == "all-linear":
        return
    everything = copy.copy(config)
    everything.exclude_modules = None
    hits = [name for name, _ in model.named_modules() if name and is_target(everything, name)]
    for target in [targets] if isinstance(targets, str) else targets:
        matched = hits if isinstance(targets, str) else [n for n in hits if n == target or n.endswith(f".{target}")]
        if not matched:
            raise UserError(f"target module {target!r} matches no layer. Linear layers: {_linear_places(model)}")
        places = {place(name) for name in matched if is_target(config, name)}
        if len(places) > 1 and not isinstance(targets, str):
            raise UserError(
                f"target module {target!r} is ambiguous, it matches {', '.join(sorted(places))}: "
                "name one of them in full, or give a regular expression if all are meant"
            )


def is_target(config: PeftConfig, name: str) -> bool:
    """Return whether the config targets the named module, which never computes a parametrised weight."""
    return ".parametrizations." not in name and bool(check_target_module_exists(config, name))


def check_linear(module: nn.Module, name: str, model: nn.Module) -> nn.Linear:
    """Return the module if it is a Linear; otherwise raise a UserError that lists the model's linear layers."""
    if not isinstance(module, nn.Linear):
        raise UserError(
            f"target module {name!r} is a {kind(module)}, not a Linear. Linear layers: {_linear_places(model)}"
        )
    return module


def place(name: str) -> str:
    """Return the name with every layer index replaced by N. This place is the same in all layers of a stack."""
    return re.sub(r"(^|(?<=\.))\d+(?=\.|$)", "N", name)


def _linear_places(model: nn.Module) -> str:
    count = defaultdict(int)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            count[place(name.removesuffix(".base_layer"))] += 1
    return ", ".join(f"{where} (×{n})" if n > 1 else where for where, n in count.items()) or "none"
