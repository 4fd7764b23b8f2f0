"""The identity of a run: the part of its configuration that determines its result beyond rounding. No torch here.

The run's id is a digest of this identity. Each key says at its field whether the identity contains it. A key or a field
of a PEFT config that is added later enters the identity only if its value is not the default (of the key, or in
adapters/defaults.json), which means "as before". Old ids therefore stay valid.
"""

import dataclasses
import hashlib
import json
import re
from functools import cache
from importlib import import_module
from typing import Any

from surm_bench.config.adapter import AdapterConfig, class_name
from surm_bench.config.keys import canonical
from surm_bench.config.positive_class import DEFAULT, positive_class
from surm_bench.config.schema import Config
from surm_bench.errors import UserError
from surm_bench.system.installation import PACKAGE

LOOP_VERSION = 1  # raised when training, evaluation or batch order change results beyond rounding
DEFAULTS = PACKAGE / "adapters" / "defaults.json"

# Fields of PEFT configs that do not describe the method, or that the runner sets.
NOT_OF_METHOD = {
    *("auto_mapping", "base_model_name_or_path", "revision", "peft_type", "task_type", "inference_mode"),
    *("peft_version", "modules_to_save", "route"),
}


def run_id(config: Config, processes: int = 1) -> str:
    """Return the id of a run: twelve hex digits of a digest of everything that determines its result.

    Args:
        config: a complete configuration, with ``task.digest`` and ``model.digest``.
        processes: the number of processes that share the training; each process takes its own batches.

    Raises:
        UserError: ``task.digest`` or ``model.digest`` is None.
    """
    return _digest(identity(config, processes))


def group_id(config: Config, processes: int = 1) -> str:
    """Return an id like run_id, but without the seed: it is equal for all seeds of one configuration."""
    return _digest({key: value for key, value in identity(config, processes).items() if key != "seed"})


def identity(config: Config, processes: int = 1) -> dict[str, Any]:
    """Return the content of the id: dotted keys with canonical values.

    A key added after the first records is left out if its value is the default (surm_bench.config.keys.InId).
    """
    for group in (config.model, config.task):
        if group.digest is None:
            raise UserError(f"{group.group}.digest of {group.name} is not known: read its content first")
    groups = (config.model, config.task, config.adapter, config.optimizer, config.trainer)
    positive = positive_class(config.task)
    values = {
        "model.architecture": config.model.architecture_id(),
        **{key: value for group in groups for key, value in group.identity()},
        **({} if positive in (None, DEFAULT) else {"task.positive_class": positive}),
        **config.task.subset_id(),
        **config.optimizer.head_rate_id(),
        **_method(config.adapter),
        "seed": config.seed,
        **({} if processes == 1 else {"processes": processes}),
        **({} if LOOP_VERSION == 1 else {"loop": LOOP_VERSION}),
    }
    return {key: canonical(value) for key, value in values.items()}


def method_defaults(target: str) -> dict[str, Any]:
    """Return the defaults of a PEFT config class for ids: from adapters/defaults.json, otherwise from the class."""
    known = _written_defaults()
    name = class_name(target)
    return known[name] if name in known else installed_defaults(target)


def installed_defaults(target: str) -> dict[str, Any]:
    """Return the defaults of a dataclass, given by its import path, as JSON values. Imports the class, and so torch.

    Raises:
        UserError: the dataclass does not exist.
    """
    defaults = {}
    for field in _fields(target):
        if field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        else:
            value = None if field.default is dataclasses.MISSING else field.default
        value = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else getattr(value, "value", value)
        defaults[field.name] = canonical(value)
    return {name: value for name, value in sorted(defaults.items()) if name not in NOT_OF_METHOD}


def check_defaults(adapter: AdapterConfig) -> None:
    """Refuse a method if the installed class has other defaults than the defaults assumed in ids.

    Fields that ``adapter.peft`` sets are not compared.

    Raises:
        UserError: a default changed, a field is new, or the class does not exist.
    """
    installed, written = installed_defaults(adapter.target), method_defaults(adapter.target)
    changed = [name for name in installed if name not in adapter.peft and installed[name] != written.get(name, _ABSENT)]
    if changed:
        differences = ", ".join(
            f"{name}={installed[name]!r} instead of {written.get(name, 'none')!r}" for name in changed
        )
        raise UserError(
            f"{class_name(adapter.target)} as installed has other defaults than the ids of runs: {differences}. "
            "Set them in adapter.peft; for new fields, run python scripts/adapter_defaults.py"
        )


_ABSENT = object()


def _fields(target: str) -> tuple[dataclasses.Field, ...]:
    module, _, name = target.rpartition(".")
    try:
        return dataclasses.fields(getattr(import_module(module), name))
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(f"adapter.peft._target_={target!r} is not the class of a PEFT config: {error}") from None


def _method(adapter: AdapterConfig) -> dict[str, Any]:
    """Return the adapted layers, the class of the method, and its fields that differ from the defaults."""
    given = {name: canonical(value) for name, value in adapter.peft.items() if name != "_target_"}
    if isinstance(given.get("options"), dict):  # a structure's option counts like the field of its name
        given |= given.pop("options")
    defaults = method_defaults(adapter.target)
    return {
        "adapter.roles": sorted(adapter.roles),
        "adapter.role_fields": {name: sorted(roles) for name, roles in adapter.role_fields.items()},
        "adapter.method": class_name(adapter.target),
        **{
            f"adapter.method.{name}": value
            for name, value in given.items()
            if name not in NOT_OF_METHOD and defaults.get(name, _ABSENT) != value
        },
    }


@cache
def _written_defaults() -> dict[str, dict[str, Any]]:
    return json.loads(DEFAULTS.read_text(encoding="utf-8"))


def _digest(document: dict) -> str:
    try:
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:
        wrong = [f"{key}={value}" for key, value in document.items() if re.search("NaN|Infinity", json.dumps(value))]
        raise UserError(f"{', '.join(wrong)} is not possible: give finite numbers") from None
    return hashlib.sha256(text.encode()).hexdigest()[:12]
