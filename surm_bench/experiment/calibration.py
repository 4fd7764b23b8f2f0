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

FILE = "calibration.json"


class Timing(NamedTuple):
    """Seconds that an adapter takes on a task."""

    start: float  # before rows are prepared
    prepare: float  # to tokenise or decode a row
    step: float  # of training
    row: float  # to score a row


@dataclass(frozen=True)
class Timed:
    """A task that can be timed.

    Attributes:
        rows: for "tuning" runs (task.validation=tuning) and for "reported" runs: the number of training rows, and the
            number of rows scored at each evaluation.
        adapters: the times of the adapters that were timed on this task.
    """

    model: str
    rows: dict[str, list[int]]
    adapters: dict[str, Timing]


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
    tasks: dict[str, Timed]

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

    def timing(self, task: str, adapter: str) -> Timing | None:
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
                return Timing(*(x * a / b for x, a, b in zip(other.adapters[adapter], here, there, strict=True)))
        return None

    def with_time(self, task: str, adapter: str, timing: Timing) -> "Calibration":
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
        device = _told(self.device_kind, self.threads)
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
    steps = min(trainer.epochs * epoch, trainer.max_steps or trainer.epochs * epoch)
    between = epoch * -(-(trainer.eval_steps or 1) // epoch)
    return steps, -(-steps // between)


def write_calibration(calibration: Calibration, folder: Path) -> None:
    with atomic(folder / FILE) as temporary:
        temporary.write_text(json.dumps(asdict(calibration), indent=1) + "\n", encoding="utf-8")


def read_calibration(experiment: Experiment, folder: Path) -> Calibration | None:
    """Return the calibration in a folder of results, or None. torch, which knows the device, is imported only if a
    calibration exists.

    Raises:
        UserError: the file cannot be read, the experiment's file has changed since, or another device was calibrated.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        found = Calibration(**json.loads(path.read_text(encoding="utf-8")))
        timed = {name: Timed(**task) for name, task in found.tasks.items()}
        adapters = {name: {a: Timing(*times) for a, times in task.adapters.items()} for name, task in timed.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({error}): plan --calibrate makes it anew") from error
    made, here = (found.device_kind, found.threads), device_here(experiment)
    if found.experiment != digest_of(experiment):
        raise UserError(f"{path} is older than the experiment's file: plan --calibrate makes it anew")
    if made != here:
        raise UserError(f"{path} was made on {_told(*made)}, this is {_told(*here)}: plan --calibrate makes it anew")
    return replace(found, tasks={name: replace(task, adapters=adapters[name]) for name, task in timed.items()})


def _told(device_kind: str, threads: int) -> str:
    return f"{device_kind}, {threads} thread{'s' * (threads != 1)}"
