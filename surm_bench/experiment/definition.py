"""An experiment is data: tasks × adapters × seeds, and the settings that tuning tries for every adapter.

configs/experiment/<name>.yaml says what is run. What tuning chose is derived from the records of its runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from surm_bench.composition import check_choices, config_dirs
from surm_bench.errors import UserError, unknown

Setting = tuple[tuple[str, float], ...]  # (key, value) of every knob
Knobs = dict[str, list[float]]
ROW_KEYS = ("adapter=", "adapter.", "optimizer=", "optimizer.")  # what a row of the table may set


@dataclass
class Tuning:
    """How the settings of each adapter on each task are chosen, alike for all: see surm_bench.experiment.search."""

    seeds: list[int] = MISSING  # apart from the reported ones; each holds other rows out where the split allows it
    # Adapter key ("default": those not named) -> knob -> values. {}: not tuned, all it has stands in its overrides.
    knobs: dict[str, dict[str, list[float]]] = MISSING
    steps: int | None = None  # optimiser steps that an adapter may use on a task; null: what the first values take
    survivors: int | None = None  # of the first values, tried for a third of the steps, so many are tried in full


@dataclass
class Experiment:
    """What is run. Overrides are those of the command line; keys name rows and columns in files and messages.

    An adapter's overrides say what the adapter and its optimiser are; the protocol is the same for all of them.
    """

    name: str = MISSING
    overrides: list[str] = field(default_factory=list)  # for every run; a task, and a row, may say otherwise
    tasks: dict[str, list[str]] = MISSING
    adapters: dict[str, list[str]] = MISSING
    seeds: list[int] = MISSING  # reported; none where the tasks are variants of a protocol to be compared by tuning
    tuning: Tuning = MISSING
    best_epoch: list[str] = field(default_factory=list)  # adapters whose row shows the score of the best epoch

    def knobs(self, adapter: str) -> Knobs:
        """The knobs of an adapter, and the values tried first."""
        return self.tuning.knobs.get(adapter, self.tuning.knobs.get("default", {}))

    def settings(self, adapter: str) -> list[Setting]:
        """The settings tried first: every combination of the values of the knobs."""
        knobs = self.knobs(adapter)
        return [tuple(zip(knobs, map(float, values), strict=True)) for values in product(*knobs.values())]

    def of_rows(self, rows: Sequence[str]) -> "Experiment":
        """The same with these adapters alone, in the order of the file; all of them where none is named.

        Raises:
            UserError: a row that there is not.
        """
        for row in rows:
            if row not in self.adapters:
                raise unknown(f"row of {self.name}", row, self.adapters)
        return replace(self, adapters={row: self.adapters[row] for row in self.adapters if row in rows or not rows})

    @property
    def untuned(self) -> list[str]:
        """The adapters without knobs: nothing is chosen for them."""
        return [adapter for adapter in self.adapters if not self.knobs(adapter)]

    @property
    def rule(self) -> str:
        """How settings are chosen, in words."""
        halved = (
            f" The first values are tried for a third of the steps, the best {self.tuning.survivors} of them in full."
            if self.tuning.survivors
            else ""
        )
        wider = (
            f" While the best is at the end of a range the range grows, up to {self.tuning.steps:,} steps in all."
            if self.tuning.steps
            else ""
        )
        return (
            "Setting of each adapter on each task: the one with the best mean score after the last step on training "
            f"rows held out, over tuning seeds that are not reported.{halved}{wider}"
        )


def experiment_files() -> dict[str, Path]:
    """The files of configs/experiment, and of the same folder of the user's configs, by the name of the experiment."""
    found = {file.stem: file for folder in config_dirs() for file in (folder / "experiment").glob("*.yaml")}
    return dict(sorted(found.items()))


def load_experiment(name: str) -> tuple[Experiment, list[str]]:
    """Read configs/experiment/<name>.yaml.

    Returns:
        The experiment without the rows and columns that name an unknown adapter, task, …, and one line for each of
        these: the rest of it can go on.

    Raises:
        UserError: there is no such file, a key is unknown or missing, a range is empty or not above 0, or a tuning
            seed is also a reported one.
    """
    files = experiment_files()
    if name not in files:
        raise unknown("experiment", name, files)
    path = files[name]
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Experiment), OmegaConf.load(path), {"name": name})
        experiment: Experiment = OmegaConf.to_object(merged)
    except (OmegaConfBaseException, YAMLError) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error
    _check(experiment, path)
    problems = []
    for kind in ("tasks", "adapters"):
        entries: dict[str, list[str]] = getattr(experiment, kind)
        for key, refusal in [(key, _refusal(kind, overrides)) for key, overrides in entries.items()]:
            if refusal:
                del entries[key]
                problems.append(f"experiment {name}, {key} left out: {refusal}")
    return experiment, problems


def _check(experiment: Experiment, path: Path) -> None:
    tuning = experiment.tuning
    if shared := set(experiment.seeds) & set(tuning.seeds):
        raise UserError(f"{path}: seeds {sorted(shared)} are both tuned on and reported: use others for tuning")
    if not tuning.seeds and any(tuning.knobs.values()):
        raise UserError(f"{path}: tuning.seeds needs at least one number")
    for name, seeds in (("seeds", experiment.seeds), ("tuning.seeds", tuning.seeds)):
        if len(set(seeds)) < len(seeds):
            raise UserError(f"{path}: {name} is {seeds}: give each number once")
    for name in ("steps", "survivors"):
        if getattr(tuning, name) is not None and getattr(tuning, name) < 2:
            raise UserError(f"{path}: tuning.{name}={getattr(tuning, name)} is not possible: at least 2, or null")
    if extra := tuning.knobs.keys() - experiment.adapters.keys() - {"default"}:
        raise UserError(f"{path}: knobs of {', '.join(sorted(extra))}, which is none of its adapters")
    if extra := set(experiment.best_epoch) - experiment.adapters.keys():
        raise UserError(f"{path}: best_epoch names {', '.join(sorted(extra))}, which is none of its adapters")
    for adapter in experiment.adapters:
        given = tuning.knobs.keys() & {adapter, "default"}
        if not given or not (experiment.seeds or experiment.knobs(adapter)):  # forgotten, or nothing would be run
            raise UserError(f"{path}: {adapter} has no knobs: give tuning.knobs.{adapter} or tuning.knobs.default")
        for knob, values in experiment.knobs(adapter).items():
            _check_knob(knob, values, f"{path}: {adapter}")


def _check_knob(knob: str, values: list[Any], place: str) -> None:
    if not knob.startswith(("adapter.", "optimizer.")):
        raise UserError(f"{place} cannot be tuned by {knob}: a knob is a key of adapter or optimizer")
    if not values or min(values) <= 0 or values != sorted(set(values)):
        raise UserError(f"{place} has {knob} in {values}: give numbers above 0, each once, in rising order")


def _refusal(kind: str, overrides: list[str]) -> str | None:
    """Why an entry cannot be run, or None."""
    for override in overrides:
        if kind == "adapters" and not override.lstrip("+").startswith(ROW_KEYS):
            return f"{override} among its overrides: an adapter takes {', '.join(ROW_KEYS)} alone"
        if kind == "tasks" and override.startswith(("adapter=", "adapter.")):
            return f"{override} among its overrides: it belongs to an adapter"
    try:
        check_choices(overrides)
    except UserError as error:
        return str(error)
    return None
