"""Read and check the files of experiments, configs/experiment/<name>.yaml, before anything is run."""

from dataclasses import fields
from itertools import chain, takewhile
from math import inf
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)
from yaml import YAMLError

from surm_bench.config.composition import config_dirs
from surm_bench.errors import UserError, unknown
from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.left_out import leave_out

NAMED = ("tasks", "adapters")
SHAPES = {  # key -> the valid shape of its value
    **dict.fromkeys(NAMED, "a name and a list of overrides for each"),
    **dict.fromkeys(("seeds", "tuning.seeds"), "a list of whole numbers"),
    "overrides": "a list of overrides",
    "best_epoch": "a list of adapters",
    "tuning.knobs": "for each adapter, or for default, its knobs, and a list of numbers for each knob",
    **dict.fromkeys(("tuning.steps", "tuning.survivors", "tuning.finalists"), "a whole number, or null"),
    "tuning": "seeds and knobs",
}
SEEDS = 2**32  # seeds must be below this number


def experiment_files() -> dict[str, Path]:
    """Return the experiment files of configs/experiment and of the user's config folders, by experiment name."""
    files = {file.stem: file for folder in config_dirs() for file in (folder / "experiment").glob("*.yaml")}
    return dict(sorted(files.items()))


def question_of(path: Path) -> str:
    """Return what an experiment asks: the first paragraph of the comment at the top of its file; "" without one."""
    lines = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    return " ".join(line.removeprefix("#").strip() for line in lines)


def load_experiment(name: str) -> tuple[Experiment, list[str]]:
    """Read configs/experiment/<name>.yaml.

    Returns:
        The experiment without the tasks and adapters that cannot be run, and a line for each of them.

    Raises:
        UserError: the file does not exist, a key is unknown or missing, nothing would be run, a range is empty or not
            above 0, a seed is below 0, or a tuning seed is also a reported seed.
    """
    files = experiment_files()
    if name not in files:
        raise unknown("experiment", name, files)
    path = files[name]
    experiment = _read(path)
    _check(experiment, path)
    return experiment, [f"experiment {name}, {problem}" for problem in leave_out(experiment)]


def _read(path: Path) -> Experiment:
    try:
        read = OmegaConf.load(path)
        if not isinstance(read, DictConfig):
            raise UserError(f"{path} must be a mapping: give the keys {', '.join(_keys(Experiment))}")
        if "name" in read:
            raise UserError(f"{path}: {unknown('key', 'name', _keys(Experiment))}")
        merged = OmegaConf.merge(OmegaConf.structured(Experiment), read, {"name": path.stem})
        return OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise UserError(f"{path}: {_reason(error, read)}") from error
    except YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def _reason(error: OmegaConfBaseException, read: DictConfig) -> str:
    """Name the key, its value and the valid values, without the terms of OmegaConf."""
    if isinstance(error, ConfigKeyError):
        return str(unknown("key", error.full_key, _keys(error.object_type)))
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} is missing: give {_shape(error.full_key)}"
    if isinstance(error, InterpolationResolutionError):
        return f"{error.full_key}: {str(error).splitlines()[0]}"
    key, value = error.full_key, error.value
    if not key:  # a section that must be a mapping is not, and OmegaConf does not name the section
        key = next((part for part in NAMED if not isinstance(read.get(part), DictConfig)), "tuning.knobs")
        value = OmegaConf.select(read, key)
    shown = "null" if str(value) == "None" else repr(value)
    return f"{key}={shown} is not possible: give {_shape(key)}"


def _shape(key: str) -> str:
    return next(shape for part, shape in SHAPES.items() if key.startswith(part))


def _check_overrides(experiment: Experiment, path: Path) -> None:
    for override in chain(experiment.overrides, *experiment.tasks.values(), *experiment.adapters.values()):
        if not isinstance(override, str):
            raise UserError(f"{path}: the override {override!r} is not possible: write it as key=value")
        if override.startswith("seed="):
            raise UserError(f"{path}: the override {override} is not possible: give seeds and tuning.seeds instead")


def _keys(kind: type) -> list[str]:
    """Return the keys of a file. ``name`` is not a key: the name of the file is the name of the experiment."""
    return [field.name for field in fields(kind) if field.name != "name"]


def _check(experiment: Experiment, path: Path) -> None:
    tuning = experiment.tuning
    for name in NAMED:
        if not getattr(experiment, name):
            raise UserError(f"{path}: {name} is empty: give at least one")
    if shared := set(experiment.seeds) & set(tuning.seeds):
        raise UserError(f"{path}: {sorted(shared)} are in both seeds and tuning.seeds: use other seeds for tuning")
    if not tuning.seeds and any(tuning.knobs.values()):
        raise UserError(f"{path}: tuning.seeds needs at least one number")
    for name, seeds in (("seeds", experiment.seeds), ("tuning.seeds", tuning.seeds)):
        if len(set(seeds)) < len(seeds):
            raise UserError(f"{path}: {name} is {seeds}: give each number once")
        if not all(0 <= seed < SEEDS for seed in seeds):
            raise UserError(f"{path}: {name} is {seeds}: each must be from 0 to 2**32 - 1")
    _check_overrides(experiment, path)
    for name in ("steps", "survivors"):
        if getattr(tuning, name) is not None and getattr(tuning, name) < 2:
            raise UserError(f"{path}: tuning.{name}={getattr(tuning, name)} is not possible: at least 2, or null")
    if tuning.finalists is not None:
        _check_finalists(experiment, path)
    if extra := tuning.knobs.keys() - experiment.adapters.keys() - {"default"}:
        raise UserError(
            f"{path}: tuning.knobs names {', '.join(sorted(extra))}: name adapters of this file, or default"
        )
    if extra := set(experiment.best_epoch) - experiment.adapters.keys():
        raise UserError(f"{path}: best_epoch names {', '.join(sorted(extra))}: name adapters of the file")
    for adapter in experiment.adapters:
        given = tuning.knobs.keys() & {adapter, "default"}
        if not given or not (experiment.seeds or experiment.knobs(adapter)):  # forgotten knobs, or nothing to run
            raise UserError(f"{path}: {adapter} has no knobs: give tuning.knobs.{adapter} or tuning.knobs.default")
        for place, (knob, values) in enumerate(experiment.knobs(adapter).items()):
            default_first = tuning.finalists is not None and place > 0
            _check_knob(knob, values, f"{path}: {adapter}", default_first)
    most = max(len(experiment.settings(adapter)) for adapter in experiment.adapters)
    if tuning.survivors is not None and tuning.survivors >= most:
        raise UserError(
            f"{path}: tuning.survivors={tuning.survivors} is not possible: below {most}, the number of first settings"
        )


def _check_finalists(experiment: Experiment, path: Path) -> None:
    tuning = experiment.tuning
    if tuning.steps is not None or tuning.survivors is not None:
        raise UserError(f"{path}: tuning.finalists uses no short trials: leave out tuning.steps and tuning.survivors")
    if tuning.finalists < 1 or len(tuning.seeds) < 2:
        raise UserError(
            f"{path}: tuning.finalists={tuning.finalists} with {len(tuning.seeds)} tuning seeds is not possible: "
            "give at least 1 finalist and at least 2 seeds"
        )


def _check_knob(knob: str, values: list[Any], place: str, default_first: bool) -> None:
    if not knob.startswith(("adapter.", "optimizer.")):
        raise UserError(f"{place} cannot be tuned by {knob}: give a key of adapter or optimizer")
    if not values or not all(0 < value < inf for value in values) or len(set(values)) < len(values):
        raise UserError(f"{place} has the values {values} of {knob}: give numbers above 0, each once")
    if not default_first and values != sorted(values):
        raise UserError(f"{place} has the values {values} of {knob}: give them in rising order")
