"""The runs of an experiment: each is a list of overrides, a setting of its knobs and a seed."""

import copy
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import product, takewhile

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from surm_bench import cli
from surm_bench.config import config_dir
from surm_bench.errors import UserError
from surm_bench.experiment.definition import Experiment, Setting
from surm_bench.experiment.search import SHORT, Trial

Choices = dict[tuple[str, str], Setting]  # by task and adapter
TUNING = ("task.validation=tuning", "trainer.save_adapter=false")


@dataclass(frozen=True)
class Job:
    """One run of an experiment: what its method is, and the overrides of all else but the seed and the knobs."""

    task: str
    adapter: str
    seed: int
    setting: Setting
    overrides: tuple[str, ...]
    method: tuple[str, ...]

    @property
    def title(self) -> str:
        setting = [f"{key.rpartition('.')[2]}={value:g}" for key, value in self.setting]
        return ", ".join([f"{self.adapter} on {self.task}", f"seed {self.seed}", *setting])

    def arguments(self) -> list[str]:
        """The run as a command line of surm_bench."""
        return [*self.overrides, *self.method, *_as_overrides(self.setting), f"seed={self.seed}"]

    @property
    def command(self) -> str:
        """The same as typed into a shell; data and weights are where task.data_dir and model.weights say."""
        return shlex.join(["python", "-m", "surm_bench", *self.arguments()])


def reported_jobs(experiment: Experiment, choices: Choices) -> list[Job]:
    """Every run of the table whose setting has been chosen."""
    return [
        _job(experiment, task, adapter, seed, choices[task, adapter])
        for task, adapter, seed in product(experiment.tasks, experiment.adapters, experiment.seeds)
        if (task, adapter) in choices
    ]


def trial_jobs(experiment: Experiment, task: str, adapter: str, trial: Trial) -> list[Job]:
    """The runs of a trial, one a tuning seed."""
    overrides = TUNING
    if trial.short:
        steps = resolved(pair(experiment, task, adapter))["trainer"]["max_steps"]
        overrides = (*TUNING, f"trainer.max_steps={-(-steps // SHORT)}")
    return [_job(experiment, task, adapter, seed, trial.setting, *overrides) for seed in experiment.tuning.seeds]


def pair(experiment: Experiment, task: str, adapter: str) -> Job:
    """A job of a task and adapter, with the first seed and setting: what a row and a column of a table are."""
    seeds = [*experiment.seeds, *experiment.tuning.seeds]
    return _job(experiment, task, adapter, seeds[0], experiment.settings(adapter)[0])


def pairs(experiment: Experiment) -> list[Job]:
    """One job for each task and adapter."""
    return [pair(experiment, task, adapter) for task, adapter in product(experiment.tasks, experiment.adapters)]


def composable(experiment: Experiment) -> list[str]:
    """Drop the tasks and adapters whose overrides the configuration refuses, and tell each in a line."""
    problems = []
    with composer():
        for entries, check in ((experiment.tasks, _check_task), (experiment.adapters, _check_adapter)):
            for name in list(entries):
                try:
                    check(experiment, name)
                except UserError as error:
                    del entries[name]
                    problems.append(f"{name} left out: {error}")
    return problems


@contextmanager
def composer() -> Iterator[None]:
    """Hydra, ready to compose; to be entered once around many."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        yield


def composed(job: Job, places: Sequence[str] = ()) -> DictConfig:
    """The configuration of a run, within composer().

    Args:
        places: overrides of what does not change a run: results_dir, task.data_dir, model.weights, tracking.

    Raises:
        UserError: an override that the configuration refuses.
    """
    cfg = _put_together((*job.overrides, *places), (*job.method, *_as_overrides(job.setting)))
    cfg.seed = job.seed
    return cfg


def resolved(job: Job) -> dict:
    """The same as plain dicts and lists, as a record holds it; not to be changed."""
    return {**_resolved(job.overrides, job.method, job.setting), "seed": job.seed}


def _check_task(experiment: Experiment, name: str) -> None:
    cfg = _composed(_of_task(experiment, name))
    if (experiment.tuning.steps or experiment.tuning.survivors) and cfg.trainer.max_steps is None:
        raise UserError("tuning.steps and tuning.survivors count optimiser steps: give trainer.max_steps")


def _check_adapter(experiment: Experiment, name: str) -> None:
    label = _label(experiment, name)
    for other in takewhile(lambda other: other != name, experiment.adapters):
        if _label(experiment, other) == label:
            raise UserError(f"its label {label!r} is that of {other}, too: give one of them adapter.label=…")


def _label(experiment: Experiment, name: str) -> str:
    return _resolved((), tuple(experiment.adapters[name]), experiment.settings(name)[0])["adapter"]["label"]


@cache
def _composed(overrides: tuple[str, ...]) -> DictConfig:
    """Composing takes a twentieth of a second: too long to repeat for every seed and setting."""
    try:
        return compose("config", list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(cli.first_lines(error)) from error


def _put_together(overrides: tuple[str, ...], method: tuple[str, ...]) -> DictConfig:
    """From two parts, so that tasks × adapters take little more than tasks + adapters compositions."""
    adapter = tuple(override for override in method if override.startswith("adapter"))
    groups = tuple(override for override in method if override.startswith("optimizer="))
    cfg = copy.deepcopy(_composed((*overrides, *groups)))
    cfg.adapter = _composed(adapter).adapter
    for override in method:
        if override.startswith("optimizer."):
            key, _, value = override.partition("=")
            OmegaConf.update(cfg, key, OmegaConf.create(f"x: {value}").x)
    return cfg


@cache
def _resolved(overrides: tuple[str, ...], method: tuple[str, ...], setting: Setting) -> dict:
    try:
        cfg = _put_together(overrides, (*method, *_as_overrides(setting)))
        return OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(cli.first_lines(error)) from error


def _of_task(experiment: Experiment, task: str) -> tuple[str, ...]:
    """What a task says goes before what is said for all: of two values of one key, Hydra takes the last."""
    return (*experiment.overrides, *experiment.tasks[task])


def _as_overrides(setting: Setting) -> tuple[str, ...]:
    """Whole numbers without a point: a rank is none with it."""
    return tuple(f"{key}={int(value) if value.is_integer() else value!r}" for key, value in setting)


def _job(experiment: Experiment, task: str, adapter: str, seed: int, setting: Setting, *more: str) -> Job:
    overrides = (*_of_task(experiment, task), *more)
    return Job(task, adapter, seed, setting, overrides, tuple(experiment.adapters[adapter]))
