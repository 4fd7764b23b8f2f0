"""The runs of an experiment: each run is a list of overrides, a setting of the knobs and a seed."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from surm_bench.config import Config, composition
from surm_bench.config.places import is_place
from surm_bench.experiment.definition import Experiment, Setting
from surm_bench.experiment.search import Budget, Trial, short_steps

Choices = dict[tuple[str, str], Setting]  # (task, adapter) -> chosen setting
TUNING = ("task.validation=tuning", "trainer.save_adapter=false")


@dataclass(frozen=True)
class Job:
    """One run of an experiment.

    Attributes:
        overrides: all overrides except those of the adapter, the knobs and the seed.
        method: the overrides of the adapter.
    """

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
        """Return the run as command line arguments of surm_bench."""
        return [*_without_seed(self), f"seed={self.seed}"]

    @property
    def command(self) -> str:
        """The run as a shell command for its record, without the paths of this machine."""
        given = [override for override in self.arguments() if not is_place(override)]
        return shlex.join(["python", "-m", "surm_bench", *given])


def reported_jobs(experiment: Experiment, choices: Choices) -> list[Job]:
    """Return every run of the table whose setting has been chosen."""
    return [
        _job(experiment, task, adapter, seed, choices[task, adapter])
        for task, adapter, seed in product(experiment.tasks, experiment.adapters, experiment.seeds)
        if (task, adapter) in choices
    ]


def in_blocks(experiment: Experiment, jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs ordered by task and seed: if stopped early, comparisons are complete and from one machine."""
    tasks, seeds = list(experiment.tasks), experiment.seeds
    return sorted(jobs, key=lambda job: (tasks.index(job.task), seeds.index(job.seed)))


def trial_jobs(experiment: Experiment, task: str, adapter: str, trial: Trial) -> list[Job]:
    """Return the runs of a trial, one for each tuning seed of the trial."""
    overrides = TUNING
    if trial.short:
        steps = resolved(pair(experiment, task, adapter)).trainer.max_steps
        overrides = (*TUNING, f"trainer.max_steps={short_steps(steps)}")
    return [_job(experiment, task, adapter, seed, trial.setting, *overrides) for seed in seeds_of(experiment, trial)]


def seeds_of(experiment: Experiment, trial: Trial) -> list[int]:
    """Return the tuning seeds of a trial."""
    return experiment.tuning.seeds[:1] if trial.first_seed else experiment.tuning.seeds


def budget(experiment: Experiment, task: str) -> Budget:
    """Return the tuning budget of every adapter on a task: adapters cannot change the length of a run."""
    steps = composition.resolved(task_overrides(experiment, task)).trainer.max_steps or 0
    seeds = len(experiment.tuning.seeds)
    return Budget(experiment.tuning.steps or 0, full=seeds * steps, short=seeds * short_steps(steps))


def pair(experiment: Experiment, task: str, adapter: str, setting: Setting | None = None) -> Job:
    """Return a representative job of a table cell: a task and an adapter, the first seed and by default the first
    setting."""
    seeds = [*experiment.seeds, *experiment.tuning.seeds]
    return _job(experiment, task, adapter, seeds[0], experiment.settings(adapter)[0] if setting is None else setting)


def pairs(experiment: Experiment) -> list[Job]:
    """Return one representative job for each task and adapter."""
    return [pair(experiment, task, adapter) for task, adapter in product(experiment.tasks, experiment.adapters)]


def resolved(job: Job, local: Sequence[str] = ()) -> Config:
    """Return the configuration of a run. Its parts are shared: do not change them.

    Args:
        local: overrides for this machine, which change no result: task.data_dir, model.weights, tracking.

    Raises:
        UserError: the configuration refuses an override.
    """
    return composition.resolved([*_without_seed(job), *local]).having(seed=job.seed)


def _without_seed(job: Job) -> list[str]:
    return [*job.overrides, *job.method, *as_overrides(job.setting)]


def task_overrides(experiment: Experiment, task: str) -> tuple[str, ...]:
    """Put the overrides of a task after the general overrides: Hydra uses the last value of a key, so the task wins."""
    return (*experiment.overrides, *experiment.tasks[task])


def as_overrides(setting: Setting) -> tuple[str, ...]:
    """Write whole numbers without a decimal point: a rank must be an integer."""
    return tuple(f"{key}={int(value) if value.is_integer() else value!r}" for key, value in setting)


def _job(experiment: Experiment, task: str, adapter: str, seed: int, setting: Setting, *more: str) -> Job:
    overrides = (*task_overrides(experiment, task), *more)
    return Job(task, adapter, seed, setting, overrides, tuple(experiment.adapters[adapter]))
