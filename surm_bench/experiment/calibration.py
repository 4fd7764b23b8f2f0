"""Estimate how long whole runs take on a device from a few timed steps."""

import hashlib
import json
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path

from surm_bench.config import Config, TrainerConfig
from surm_bench.errors import UserError
from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.device import device_here
from surm_bench.experiment.jobs import Job, resolved
from surm_bench.records.record import Environment
from surm_bench.system.atomic import atomic

FILE = "calibration.json"


@dataclass(frozen=True)
class Timing:
    """Seconds that an adapter takes on a task.

    start is the time before rows are prepared. prepare is the time to prepare a row (to tokenise text or decode an
    image). step is the time of a training step. row is the time to score a row.
    """

    start: float
    prepare: float
    step: float
    row: float


@dataclass(frozen=True)
class Timed:
    """A task that was timed.

    Attributes:
        rows: for tuning runs (task.validation=tuning) and for reported runs: the number of training rows, and the
            number of rows scored at each evaluation.
        adapters: the times of the adapters that were timed on this task.
    """

    model: str
    rows: dict[str, tuple[int, int]]
    adapters: dict[str, Timing]


@dataclass(frozen=True)
class Calibration:
    """The tasks that could be timed, and the device they were timed on.

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
        train, scored = self.tasks[job.task].rows[kind_of(config)]
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
                known = min(shared)
                return _scaled(other.adapters[adapter], own.adapters[known], other.adapters[known])
        return None

    def with_timed(self, task: str, timed: Timed) -> "Calibration":
        """Return this calibration with the adapters of a timed task added."""
        before = self.tasks[task].adapters if task in self.tasks else {}
        return replace(self, tasks=self.tasks | {task: replace(timed, adapters=before | timed.adapters)})

    def is_of(self, environment: Environment) -> bool:
        """Whether a record's environment has the device kind and number of threads of this calibration."""
        return (environment.device_kind, environment.threads) == (self.device_kind, self.threads)

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


def kind_of(config: Config) -> str:
    """Return whether a run is "tuning" or "reported": the two kinds train on and score different rows."""
    return "tuning" if config.task.validation == "tuning" else "reported"


def run_length(train: int, trainer: TrainerConfig) -> tuple[int, int]:
    """Return the numbers of optimiser steps and of evaluations of a run.

    A run evaluates at the end of an epoch once eval_steps have passed since the last evaluation, and at its own end.

    Args:
        train: the number of training rows.
        trainer: the length of the run.
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
        read = json.loads(path.read_text(encoding="utf-8"))
        tasks = {
            name: Timed(
                task["model"],
                {kind: tuple(rows) for kind, rows in task["rows"].items()},
                {adapter: Timing(**seconds) for adapter, seconds in task["adapters"].items()},
            )
            for name, task in read["tasks"].items()
        }
        calibration = Calibration(**read | {"tasks": tasks})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be read ({error}): plan --calibrate makes it anew") from error
    if calibration.experiment != digest_of(experiment):
        raise UserError(f"{path} is older than the experiment's file: plan --calibrate makes it anew")
    made, here = (calibration.device_kind, calibration.threads), device_here(experiment)
    if made != here:
        raise UserError(f"{path} was made on {_told(*made)}, this is {_told(*here)}: give plan --calibrate")
    return calibration


def _told(device_kind: str, threads: int) -> str:
    return f"{device_kind}, {threads} thread{'s' * (threads != 1)}"


def _scaled(timing: Timing, longer: Timing, known: Timing) -> Timing:
    return Timing(*(part * more / one for part, more, one in zip(*map(astuple, (timing, longer, known)), strict=True)))
