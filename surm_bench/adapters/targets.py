"""Which layers an adapter takes: defaults by role, and one clear error for patterns that miss or that hit twice."""

import copy
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from peft import PeftConfig
from peft.tuners.tuners_utils import check_target_module_exists
from torch import nn

from surm_bench.adapters.base_layer import kind
from surm_bench.errors import UserError
from surm_bench.roles import find_roles, layer_of, select


def role_targets(model: nn.Module, roles: Iterable[str], layers: Sequence[int] | int | None = None) -> list[str]:
    """The names of the modules that play the roles in the model, in these layers or in all.

    PEFT itself reads layers_to_transform beside endings of names only, and passes it over beside names in full.

    Raises:
        UserError: no family of roles fits the model, or it has none of the layers.
    """
    names = select(find_roles(backbone_names(model)), roles)
    if layers is None or layers == []:
        return names
    wanted = {layers} if isinstance(layers, int) else set(layers)
    found = [name for name in names if layer_of(name) in wanted]
    if not found:
        there = sorted({layer for name in names if (layer := layer_of(name)) is not None})
        raise UserError(
            f"layers_to_transform={layers} is not possible: this model has layers {there[0]} to {there[-1]}"
        )
    return found


def backbone_names(model: nn.Module) -> list[str]:
    """The names of the model's modules as they were before there were adapters around some."""
    return list(dict.fromkeys(name.replace(".base_layer", "") for name, _ in model.named_modules()))


def check_targets(config: PeftConfig, model: nn.Module) -> None:
    """Refuse a target that matches nothing, and a name that matches places of different kinds.

    PEFT matches names by their end, so ``output.dense`` means two places of every RoBERTa layer, and it passes over a
    name without any match as long as another one has some. Both change the method silently. What exclude_modules leaves
    out has been matched, but hits no place.

    Raises:
        UserError: lists the linear layers of the model, or the places that were hit, by their shape ``layer.N.…``.
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
    """Whether the config takes the module of that name; what computes a parametrised weight is part of its layer."""
    return ".parametrizations." not in name and bool(check_target_module_exists(config, name))


def check_linear(module: nn.Module, name: str, model: nn.Module) -> nn.Linear:
    """The module, if it is a Linear; raises UserError that lists the model's linear layers otherwise."""
    if not isinstance(module, nn.Linear):
        raise UserError(
            f"target module {name!r} is a {kind(module)}, not a Linear. Linear layers: {_linear_places(model)}"
        )
    return module


def place(name: str) -> str:
    """The name with every layer index as N: what two layers of a stack have in common."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "N", name)


def _linear_places(model: nn.Module) -> str:
    count = defaultdict(int)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            count[place(name.removesuffix(".base_layer"))] += 1
    return ", ".join(f"{where} (×{n})" if n > 1 else where for where, n in count.items()) or "none"
