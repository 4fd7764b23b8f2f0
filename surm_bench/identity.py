"""What a run is: the part of its configuration that determines its result beyond rounding. No torch here.

The run's id is a digest of that part. A key that is added later enters it only where it differs from the value that
means "as before" (AS_BEFORE for our keys, adapters/defaults.json for fields of PEFT configs), so that no id changes.
"""

import dataclasses
import hashlib
import json
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from surm_bench.errors import UserError
from surm_bench.positive_class import DEFAULT, positive_class

LOOP_VERSION = 1  # of training, evaluation and batch order: raised by a change of results beyond rounding
DEFAULTS = Path(__file__).parent / "adapters" / "defaults.json"

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

# The values that mean "as before": a key that has it is left out.
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
# Keys that do not determine the result: names and labels, places, comfort, what changes it by rounding alone. What the
# data and weights of a place hold does: as a digest of their content.
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
# Fields of PEFT configs that are no choice of the method, or that the runner sets.
NOT_OF_METHOD = {
    *("auto_mapping", "base_model_name_or_path", "revision", "peft_type", "task_type", "inference_mode"),
    *("peft_version", "modules_to_save", "route"),
}


def run_id(config: dict, processes: int = 1) -> str:
    """Twelve hex digits that name a run by what determines its result.

    Args:
        config: the resolved configuration as plain dicts and lists, its ``task.digest`` and ``model.digest`` known.
        processes: how many share the training; each takes batches of its own.

    Raises:
        UserError: a digest of content is not known.
    """
    return _digest(identity(config, processes))


def group_id(config: dict, processes: int = 1) -> str:
    """As run_id, but equal for all seeds of one configuration."""
    return _digest({key: value for key, value in identity(config, processes).items() if key != "seed"})


def identity(config: dict, processes: int = 1) -> dict[str, Any]:
    """What the id is a digest of: keys with dots, and their canonical values; what is "as before" is left out."""
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
    """The same for equal values: 1 and 1.0, a tuple and a list."""
    if isinstance(value, dict):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def method_defaults(target: str) -> dict[str, Any]:
    """The defaults of a PEFT config class as ids have them: those written down, or else those of the class itself."""
    known = _written_defaults()
    name = class_name(target)
    return known[name] if name in known else installed_defaults(target)


def installed_defaults(target: str) -> dict[str, Any]:
    """The defaults of a dataclass by its import path, as JSON has them. Imports the class, and torch with it.

    Raises:
        UserError: there is no such dataclass.
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
    """Refuse a method whose class, as it is installed, has other defaults than ids are made with.

    Args:
        peft: the ``adapter.peft`` of a configuration. A field that it states has no need of a default.

    Raises:
        UserError: a default changed, or a field is new; or there is no such class.
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
    """A class of PEFT or ours by package and name, whatever module it is imported from; others as they are given.

    ``peft.tuners.lora.LoraConfig`` is ``peft.LoraConfig``.
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
    """A record made before a key was added lacks it, which is as before."""
    return {f"{group}.{key}": values[key] for key in keys if key in values or f"{group}.{key}" not in AS_BEFORE}


def _positive(task: dict) -> dict[str, Any]:
    """The number of the class that F1 is of, where that is not GLUE's: names may change without a change of scores."""
    number = positive_class(task)
    return {"task.positive_class": None if number == DEFAULT else number}


def _draws(task: dict) -> dict[str, Any]:
    """The seed of the subsets where there are any, and the size of the rows held out beside one."""
    subset = any(task[key] not in (None, False) for key in SUBSETS)
    beside = task["validation"] != "dev" and any(
        task[key] is not None for key in ("fraction", "shots", "max_train_samples")
    )
    return {f"task.{key}": task[key] for key, used in (("subset_seed", subset), ("validation_rows", beside)) if used}


def _method(adapter: dict) -> dict[str, Any]:
    """The layers and the method: its class, and its fields where they differ from the defaults."""
    fields = {name: canonical(value) for name, value in adapter["peft"].items() if name != "_target_"}
    if isinstance(fields.get("options"), dict):  # of a structure: counts as the field of that name does
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
