"""The identity of a run: the part of its configuration that determines its result beyond rounding. No torch here.

The run's id is a digest of this identity. A key that is added later enters the identity only if its value differs from
the value that means "as before" (AS_BEFORE for the keys of this package, adapters/defaults.json for fields of PEFT
configs). Old ids therefore stay valid.
"""

import dataclasses
import hashlib
import json
import re
from functools import cache
from importlib import import_module
from typing import Any

from surm_bench.config.positive_class import DEFAULT, positive_class
from surm_bench.errors import UserError
from surm_bench.system.installation import PACKAGE

LOOP_VERSION = 1  # raised when training, evaluation or batch order change results beyond rounding
DEFAULTS = PACKAGE / "adapters" / "defaults.json"

MODEL = {
    "text": ("digest", "version"),
    "vision": ("image_size", "crop_mode", "crop_pct", "mean", "std", "digest", "version"),
}
TASK = {
    "text": ("max_length",),
    "image": ("augment", "white"),
    "": (
        *("kind", "num_labels", "metric", "primary_metric", "digest", "version", "validation"),
        *("fraction", "shots", "max_train_samples", "vtab1k", "max_eval_samples"),
    ),
}
ADAPTER = ("first_layer", "version")
OPTIMIZER = {
    "adamw": ("betas", "eps"),
    "adam": ("betas", "eps"),
    "sgd": ("momentum",),
    "loko": (),
    "": ("name", "version", "lr", "head_lr", "weight_decay", "schedule", "warmup_ratio", "max_grad_norm"),
}
TRAINER = (
    *("epochs", "max_steps", "eval_steps", "patience", "keep_best", "batch_size", "micro_batch_size", "precision"),
)
SUBSETS = ("fraction", "shots", "max_train_samples", "vtab1k", "max_eval_samples")

# The values that mean "as before": a key with its value here is left out of the identity.
AS_BEFORE: dict[str, Any] = {
    "model.image_size": None,
    "model.crop_mode": None,
    "model.crop_pct": None,
    "model.mean": None,
    "model.std": None,
    "model.version": 1,
    "task.version": 1,
    "task.positive_class": None,
    "task.augment": "none",
    "task.white": None,
    "task.fraction": None,
    "task.shots": None,
    "task.max_train_samples": None,
    "task.vtab1k": False,
    "task.max_eval_samples": None,
    "adapter.first_layer": 0,
    "adapter.version": 1,
    "optimizer.version": 1,
    "optimizer.head_lr": None,
    "trainer.max_steps": None,
    "trainer.eval_steps": None,
    "trainer.patience": None,
    "trainer.keep_best": False,
    "trainer.micro_batch_size": None,
    "trainer.precision": "no",
    "loop": 1,
    "processes": 1,
}
# Keys that do not determine the result: names, labels, paths, convenience, and keys that change only the rounding.
# The data and weights at a path do determine the result: the identity contains the digests of their content.
NOT_IN_IDENTITY = (
    *("results_dir", "rerun", "tracking"),
    *("model.name", "model.family", "model.source", "model.checkpoint", "model.weights", "model.revision"),
    *("task.name", "task.source", "task.dataset", "task.subset", "task.revision", "task.train_split"),
    "task.label_names",
    *("task.eval_split", "task.extra_eval_splits", "task.inputs", "task.label", "task.rename", "task.data_dir"),
    *("adapter.name", "adapter.label", "adapter.lr"),
    *("trainer.eval_batch_size", "trainer.device", "trainer.gradient_checkpointing", "trainer.compile"),
    *("trainer.cache_prefix", "trainer.workers", "trainer.progress", "trainer.save_seconds", "trainer.save_adapter"),
)
# Fields of PEFT configs that do not describe the method, or that the runner sets.
NOT_OF_METHOD = {
    *("auto_mapping", "base_model_name_or_path", "revision", "peft_type", "task_type", "inference_mode"),
    *("peft_version", "modules_to_save", "route"),
}


def run_id(config: dict, processes: int = 1) -> str:
    """Return the id of a run: twelve hex digits of a digest of everything that determines its result.

    Args:
        config: the resolved configuration as plain dicts and lists, with ``task.digest`` and ``model.digest``.
        processes: the number of processes that share the training; each process takes its own batches.

    Raises:
        UserError: ``task.digest`` or ``model.digest`` is None.
    """
    return _digest(identity(config, processes))


def group_id(config: dict, processes: int = 1) -> str:
    """Return an id like run_id, but without the seed: it is equal for all seeds of one configuration."""
    return _digest({key: value for key, value in identity(config, processes).items() if key != "seed"})


def identity(config: dict, processes: int = 1) -> dict[str, Any]:
    """Return the content of the id: dotted keys with canonical values, without values that mean "as before"."""
    model, task, optimizer = config["model"], config["task"], config["optimizer"]
    for group in ("model", "task"):
        if config[group]["digest"] is None:
            raise UserError(f"{group}.digest of {config[group]['name']} is not known: its content has not been read")
    architecture = model["checkpoint" if model["family"] == "vision" or model["source"] == "embedded" else "name"]
    found = {
        "model.architecture": model.get("architecture") or architecture,
        **_pick("model", model, MODEL[model["family"]]),
        **_pick("task", task, (*TASK[""], *TASK[task["kind"]])),
        **_positive(task),
        **_draws(task),
        **_pick("adapter", config["adapter"], ADAPTER),
        **_method(config["adapter"]),
        **_pick("optimizer", optimizer, (*OPTIMIZER[""], *OPTIMIZER[optimizer["name"]])),
        **_pick("trainer", config["trainer"], TRAINER),
        "seed": config["seed"],
        "processes": processes,
        "loop": LOOP_VERSION,
    }
    if found.get("optimizer.head_lr") == found["optimizer.lr"]:
        del found["optimizer.head_lr"]
    return {key: canonical(value) for key, value in found.items() if AS_BEFORE.get(key, _ABSENT) != value}


def canonical(value: Any) -> Any:
    """Return one form for equal values: 1 for 1 and 1.0, a list for a list and a tuple."""
    if isinstance(value, dict):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


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
    found = {}
    for field in _fields(target):
        if field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        else:
            value = None if field.default is dataclasses.MISSING else field.default
        value = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else getattr(value, "value", value)
        found[field.name] = canonical(value)
    return {name: value for name, value in sorted(found.items()) if name not in NOT_OF_METHOD}


def check_defaults(peft: dict[str, Any]) -> None:
    """Refuse a method if the installed class has other defaults than the defaults in ids.

    Args:
        peft: the ``adapter.peft`` of a configuration. The defaults of fields given here do not matter.

    Raises:
        UserError: a default changed, a field is new, or the class does not exist.
    """
    target = str(peft.get("_target_", ""))
    installed, written = installed_defaults(target), method_defaults(target)
    changed = [name for name in installed if name not in peft and installed[name] != written.get(name, _ABSENT)]
    if changed:
        differences = ", ".join(
            f"{name}={installed[name]!r} instead of {written.get(name, 'none')!r}" for name in changed
        )
        raise UserError(
            f"{class_name(target)} as installed has other defaults than ids of runs are made with: {differences}. "
            "State them in adapter.peft; fields that are new, python scripts/adapter_defaults.py writes down"
        )


def class_name(target: str) -> str:
    """Shorten the import path of a class of PEFT or surm_bench to package and name. Return other paths unchanged.

    ``peft.tuners.lora.LoraConfig`` becomes ``peft.LoraConfig``.
    """
    package, name = target.partition(".")[0], target.rpartition(".")[2]
    return f"{package}.{name}" if package in ("peft", "surm_bench") else target


_ABSENT = object()


def _fields(target: str) -> tuple[dataclasses.Field, ...]:
    module, _, name = target.rpartition(".")
    try:
        return dataclasses.fields(getattr(import_module(module), name))
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(f"adapter.peft._target_={target!r} is not the class of a PEFT config: {error}") from None


def _pick(group: str, values: dict, keys: tuple[str, ...]) -> dict[str, Any]:
    """Return these keys of a group. A record from before a key was added lacks the key, which means "as before"."""
    return {f"{group}.{key}": values[key] for key in keys if key in values or f"{group}.{key}" not in AS_BEFORE}


def _positive(task: dict) -> dict[str, Any]:
    """Return the number of the positive class, None for GLUE's class 1. Class names do not change scores."""
    number = positive_class(task)
    return {"task.positive_class": None if number == DEFAULT else number}


def _draws(task: dict) -> dict[str, Any]:
    """Return the seed of the subset, if there is one, and the number of rows held out from its unused rows."""
    subset = any(task[key] not in (None, False) for key in SUBSETS)
    beside = task["validation"] != "dev" and any(
        task[key] is not None for key in ("fraction", "shots", "max_train_samples")
    )
    return {f"task.{key}": task[key] for key, used in (("subset_seed", subset), ("validation_rows", beside)) if used}


def _method(adapter: dict) -> dict[str, Any]:
    """Return the adapted layers, the class of the method, and its fields that differ from the defaults."""
    fields = {name: canonical(value) for name, value in adapter["peft"].items() if name != "_target_"}
    if isinstance(fields.get("options"), dict):  # a structure's option counts like the field of its name
        fields |= fields.pop("options")
    defaults = method_defaults(adapter["peft"]["_target_"])
    return {
        "adapter.roles": sorted(adapter["roles"]),
        "adapter.role_fields": {name: sorted(roles) for name, roles in adapter["role_fields"].items()},
        "adapter.method": class_name(adapter["peft"]["_target_"]),
        **{
            f"adapter.method.{name}": value
            for name, value in fields.items()
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
        raise UserError(f"{', '.join(wrong)} is not possible: not a finite number") from None
    return hashlib.sha256(text.encode()).hexdigest()[:12]
