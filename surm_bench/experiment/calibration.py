"""Estimate how long whole runs take on a device from a few timed steps."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from surm_bench.config import TrainerConfig
from surm_bench.errors import UserError
from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.device import device_here
from surm_bench.experiment.jobs import Job, resolved
from surm_bench.system.atomic import atomic

CALIBRATION_FILE = "calibration.json"


class UnitTimes(NamedTuple):
    """The seconds of each unit of work that an adapter takes on a task."""

    start: float  # loading data and model, and attaching the adapter
    prepare: float  # tokenising or decoding one row
    step: float  # one optimiser step
    row: float  # scoring one row


@dataclass(frozen=True)
class TimedTask:
    """A task that can be timed.

    Attributes:
        rows: for "tuning" runs (task.validation=tuning) and for "reported" runs: the number of training rows, and the
            number of rows scored at each evaluation.
        adapters: the times of the adapters that were timed on this task.
    """

    model: str
    rows: dict[str, list[int]]
    adapters: dict[str, UnitTimes]


@dataclass(frozen=True)
class Calibration:
    """The tasks that can be timed here, with their times, and the device.

    Attributes:
        experiment: digest_of the timed experiment.
        created: ISO 8601, UTC.
        load: the load average over a minute before anything was timed.
    """

    experiment: str
    created: str
    device_kind: str
    threads: int
    cores: int
    load: float
    tasks: dict[str, TimedTask]

    def seconds(self, job: Job) -> float | None:
        """Estimate the seconds of a whole run; None if neither a measured nor a scaled time is known.

        Images that do not fit into memory are decoded again in each epoch. This time is not counted.
        """
        timing = self.timing(job.task, job.adapter)
        if timing is None:
            return None
        config = resolved(job)
        kind = "tuning" if config.task.validation == "tuning" else "reported"
        train, scored = self.tasks[job.task].rows[kind]
        steps, evaluations = run_length(train, config.trainer)
        seen = train if config.task.kind == "text" else min(train, steps * config.trainer.batch_size)
        training = (seen + scored) * timing.prepare + steps * timing.step
        return timing.start + training + evaluations * scored * timing.row

    def timing(self, task: str, adapter: str) -> UnitTimes | None:
        """Return the measured time of an adapter on a task, or its time on another task of the same model, scaled.

        The scale is the ratio of the times that another adapter took on the two tasks. None if there is no such task.
        """
        own = self.tasks.get(task)
        if own is None or adapter in own.adapters:
            return own and own.adapters[adapter]
        for other in self.tasks.values():
            shared = own.adapters.keys() & other.adapters.keys()
            if other.model == own.model and adapter in other.adapters and shared:
                here, there = own.adapters[min(shared)], other.adapters[min(shared)]
                return UnitTimes(*(x * a / b for x, a, b in zip(other.adapters[adapter], here, there, strict=True)))
        return None

    def with_time(self, task: str, adapter: str, timing: UnitTimes) -> "Calibration":
        """Return this calibration with the time of an adapter on one of its tasks added."""
        adapters = self.tasks[task].adapters | {adapter: timing}
        return replace(self, tasks=self.tasks | {task: replace(self.tasks[task], adapters=adapters)})

    @property
    def is_busy(self) -> bool:
        """Whether other programs kept the machine busy."""
        return self.load > self.cores - 0.5

    @property
    def about(self) -> str:
        """A line with the date, the device, the load, and whether the machine was busy."""
        device = _described(self.device_kind, self.threads)
        text = f"calibrated {self.created[:16]} on {device}, load {self.load:.1f} of {self.cores}"
        return text + (": the machine was busy, these times are too long" if self.is_busy else "")


def digest_of(experiment: Experiment) -> str:
    """Return a digest of the parts of an experiment's file that the time of a run depends on."""
    text = json.dumps([experiment.tasks, experiment.adapters, experiment.overrides])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_length(train: int, trainer: TrainerConfig) -> tuple[int, int]:
    """Return the numbers of optimiser steps and of evaluations of a run.

    A run evaluates at the end of an epoch once eval_steps have passed since the last evaluation, and at its own end.

    Args:
        train: the number of training rows.
        trainer: the trainer part of a resolved configuration.
    """
    epoch = -(-train // trainer.batch_size)
    steps = trainer.steps(epoch)
    between = epoch * -(-(trainer.eval_steps or 1) // epoch)
    return steps, -(-steps // between)


def write_calibration(calibration: Calibration, folder: Path) -> None:
    with atomic(folder / CALIBRATION_FILE) as temporary:
        temporary.write_text(json.dumps(asdict(calibration), indent=1) + "\n", encoding="utf-8")


def read_calibration(experiment: Experiment, folder: Path) -> Calibration | None:
    """Return the calibration in a folder of results, or None if the folder has none.

    torch is imported only if a calibration exists, to compare the device.

    Raises:
        UserError: the file cannot be read, the experiment's file has changed since, or another device was calibrated.
    """
    path = folder / CALIBRATION_FILE
    if not path.exists():
        return None
    try:
        calibration = Calibration(**json.loads(path.read_text(encoding="utf-8")))
        timed = {name: TimedTask(**task) for name, task in calibration.tasks.items()}
        adapters = {name: {a: UnitTimes(*times) for a, times in task.adapters.items()} for name, task in timed.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({error}): plan --calibrate makes a new one") from error
    made, here = (calibration.device_kind, calibration.threads), device_here(experiment)
    if calibration.experiment != digest_of(experiment):
        raise UserError(f"{path} is older than the experiment's file: plan --calibrate makes a new one")
    if made != here:
        devices = f"{_described(*made)}, but this machine is {_described(*here)}"
        raise UserError(f"{path} was made on {devices}: plan --calibrate makes a new one")
    return replace(calibration, tasks={name: replace(task, adapters=adapters[name]) for name, task in timed.items()})


def _described(device_kind: str, threads: int) -> str:
    return f"{device_kind}, {threads} thread{'s' * (threads != 1)}"
