"""Estimate how long whole runs take from short runs, which are kept apart from the results."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from surm_bench.config import TrainerConfig
from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.jobs import TUNING, Job, pairs, resolved
from surm_bench.experiment.matching import Runs
from surm_bench.records import Record

CALIBRATION = "calibration"  # the folder of the short runs, in the experiment's folder of results
# Texts are batched in groups of at most 50 batches, the longest first: fewer steps would time only the longest texts.
STEPS = 50
SHORT = (f"trainer.max_steps={STEPS}", "trainer.save_adapter=false", "tracking=none")
SCORING = 0.5  # time of scoring an example over time of training on it: no backward pass (measured: 0.3 to 0.6)


class Kind(NamedTuple):
    """A model and the examples that it trains on and scores; runs of one kind differ by adapter, setting and seed."""

    model: str
    task: str
    validation: str


class Calibration:
    """The short runs that fit an experiment's file.

    Args:
        folder: the experiment's folder of results.
        places: see surm_bench.experiment.commands.Options.

    Attributes:
        timed: kind -> adapter -> record of the short run.
        problems: a line for each record that cannot be used.
    """

    def __init__(self, experiment: Experiment, folder: Path, places: Sequence[str] = ()) -> None:
        runs = Runs(folder / CALIBRATION, places)
        self.timed: dict[Kind, dict[str, Record]] = defaultdict(dict)
        for job in [] if runs.archive.is_empty else short_runs(experiment):
            record = runs.result(job)
            if record is not None and record.timing is not None:
                self.timed[kind(job)][job.adapter] = record
        self.problems = runs.problems

    @property
    def last(self) -> Record | None:
        """The record of the last short run; None without one."""
        records = [record for adapters in self.timed.values() for record in adapters.values()]
        return max(records, key=lambda record: record.created, default=None)

    @property
    def about(self) -> str:
        """A line with the date and the device."""
        hardware, threads = self.last.environment.hardware, self.last.environment.threads
        return f"calibrated {self.last.created[:16]} on {hardware}, {threads} thread{'s' * (threads != 1)}"

    def seconds(self, job: Job) -> float | None:
        """Estimate the seconds of a whole run from the short run of its kind and adapter.

        If the adapter has no short run of this kind, the time of its step is derived from another adapter that has one:
        that adapter's time of a step, times the ratio of both adapters' times on another kind of run of the same model.
        None if there is no such adapter.

        Images that do not fit into memory are decoded again in each epoch. This time is not counted.
        """
        link = linked(self.timed, kind(job), job.adapter)
        if link is None:
            return None
        adapter, other = link
        short, trainer = self.timed[kind(job)][adapter], resolved(job).trainer
        ratio = _step(self.timed[other][job.adapter]) / _step(self.timed[other][adapter])
        evaluation = SCORING * sum(short.examples.values()) / trainer.batch_size  # in steps

        def in_steps(steps: int, evaluations: int) -> float:
            return steps + evaluations * evaluation

        start = short.timing.wall_seconds - _step(short) * in_steps(short.history[-1]["step"], len(short.history))
        return start + ratio * _step(short) * in_steps(*run_length(short.train_examples, trainer))


def short_runs(experiment: Experiment) -> list[Job]:
    """Return the short runs of every adapter on every task, each as a reported run and as a tuning run."""
    return [
        replace(job, overrides=(*job.overrides, *validation, *SHORT))
        for job in pairs(experiment)
        for validation in ((), TUNING)
    ]


def device_of(record: Record) -> tuple[str | None, int | None]:
    """Return the kind of the device of a run, and its number of threads."""
    return record.environment.device_kind, record.environment.threads


def kind(job: Job) -> Kind:
    """Return the kind of a run."""
    config = resolved(job)
    return Kind(config.model.name, job.task, config.task.validation)


def linked(timed: Mapping[Kind, Collection[str]], wanted: Kind, adapter: str) -> tuple[str, Kind] | None:
    """Return how the time of an adapter on the wanted kind of run follows from known times; None if it does not.

    Returns:
        An adapter that was timed on the wanted kind (``adapter`` itself, if it was), and a kind of run of the same
        model on which both this adapter and ``adapter`` were timed.
    """
    for other, adapters in timed.items():
        shared = set(adapters) & set(timed.get(wanted, ()))
        if other.model == wanted.model and adapter in adapters and shared:
            return (adapter if adapter in shared else min(shared)), other
    return None


def run_length(train: int, trainer: TrainerConfig) -> tuple[int, int]:
    """Return the numbers of optimiser steps and of evaluations of a run.

    A run evaluates at the end of an epoch once eval_steps have passed since the last evaluation, and at its own end.

    Args:
        train: the number of training examples.
        trainer: the trainer part of a resolved configuration.
    """
    epoch = -(-train // trainer.batch_size)
    steps = trainer.steps(epoch)
    between = epoch * -(-(trainer.eval_steps or 1) // epoch)
    return steps, -(-steps // between)


def _step(record: Record) -> float:
    """Return the mean seconds of a step.

    The median would be too short: a few batches of texts are much longer, and a GPU ends most steps before their work.
    """
    return record.timing.train_seconds / record.history[-1]["step"]
