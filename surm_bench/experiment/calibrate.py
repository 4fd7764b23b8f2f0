"""Time a few steps of an experiment on the device of this machine."""

import datetime
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count, product
from pathlib import Path
from statistics import median

import numpy as np
from datasets import Dataset
from torch.utils.data import Subset

from surm_bench.adapters.training_hooks import training_hooks
from surm_bench.config import Config
from surm_bench.errors import UserError
from surm_bench.experiment.calibration import (
    CALIBRATION_FILE,
    Calibration,
    TimedTask,
    UnitTimes,
    digest_of,
    read_calibration,
    write_calibration,
)
from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.device import device_here
from surm_bench.experiment.jobs import Job, pair, resolved
from surm_bench.models.digest import check_model
from surm_bench.run.build import adapt, build_model, prepared
from surm_bench.run.loading import evaluate
from surm_bench.run.runner import checked
from surm_bench.tasks import RawTask, TaskData, load_task, objective_for
from surm_bench.training import fit, use_device
from surm_bench.training.batches import Batches

STEPS = 5  # steps of the warm-up epoch, and of the timed epoch
GROUPED = 200  # batches of text from which rows of mean length are chosen: four of the groups that a run makes
SCORED = 2  # batches of text that are scored: a run orders rows by length


def calibrate(experiment: Experiment, jobs: Sequence[Job], folder: Path, places: Sequence[str] = ()) -> list[str]:
    """Time enough pairs of task and adapter to estimate these jobs, and write each time as soon as it is measured.

    Pairs with a written time are not timed again, except if the machine was busy then and is not busy now. Tasks whose
    data or weights are not on this machine are left out, and so are pairs that cannot be run.

    Returns:
        A line for each reason why tasks or adapters were left out.
    """
    left = {(job.task, job.adapter) for job in jobs}
    wanted = [which for which in product(experiment.tasks, experiment.adapters) if which in left]
    known = _begun(experiment, folder) if wanted else None
    if known is None or all(known.timing(*which) for which in wanted):
        done = f"all remaining runs have been timed; remove {folder / CALIBRATION_FILE} to time them again"
        print(f"{experiment.name}: {done if wanted else 'no runs are left to be timed'}")
        return []
    if known.is_busy:
        load = f"load {known.load:.1f} of {known.cores}"
        print(f"the machine is busy ({load}): times will be too long; stop other work for better ones", file=sys.stderr)

    def config_of(task: str, adapter: str) -> Config:
        config = resolved(pair(experiment, task, adapter), places)
        return checked(config.having(results_dir=str(folder)))[0]

    left_out = defaultdict(list)  # reason -> the tasks, or adapters on tasks, that are left out
    for task in dict.fromkeys(task for task, _ in wanted if task not in known.tasks):
        try:
            known.tasks[task] = _untimed(config_of(task, next(iter(experiment.adapters))))
        except Exception as error:  # its data or weights are not on this machine
            left_out[_in_one_line(error)].append(task)
    wanted = [which for which in wanted if which[0] in known.tasks]
    warm = False
    for tried in count(1):
        if not (todo := to_time(known, wanted)):
            return [f"not timed: {', '.join(names)}: {reason}" for reason, names in left_out.items()]
        task, adapter = todo[0]
        print(f"calibrating {experiment.name}, {tried}/{tried - 1 + len(todo)}: {adapter} on {task}", flush=True)
        try:
            config = config_of(task, adapter)
            if not warm:
                time_run(config)  # the first run of a process is slower
            warm = True
            known = known.with_time(task, adapter, time_run(config))
        except Exception as error:  # one adapter fails, for example because memory is too small
            wanted.remove((task, adapter))
            left_out[_in_one_line(error)].append(f"{adapter} on {task}")
        else:
            write_calibration(known, folder)


def to_time(known: Calibration, wanted: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs of task and adapter whose times do not follow from the pairs before (Calibration.timing)."""
    untimed = []
    for task, adapter in wanted:
        if known.timing(task, adapter) is None:
            known = known.with_time(task, adapter, UnitTimes(1, 1, 1, 1))
            untimed.append((task, adapter))
    return untimed


def time_run(config: Config) -> UnitTimes:
    """Measure the seconds of each part of a run.

    Prepare rows, warm up for an epoch of a few batches, take the median step of a second epoch, then score a batch.
    """
    use_device(config.trainer.device)
    times = [time.perf_counter()]
    raw, backbone = load_task(config.task, config.seed), build_model(config)
    times.append(time.perf_counter())
    data = prepared(_sampled(raw, config), backbone, config)
    rows = _read(data)
    times.append(time.perf_counter())
    data = _of_mean_length(data, config.trainer.batch_size)
    model = adapt(backbone, config)
    times.append(time.perf_counter())
    timed = {"epochs": 2, "max_steps": None, "eval_steps": None, "patience": None, "keep_best": False}
    config = replace(config, trainer=replace(config.trainer, **timed, progress=False))
    history = fit(model, data, objective_for(config.task), config, hooks=training_hooks(model))
    times.append(time.perf_counter())
    evaluate(model, data, config)
    times.append(time.perf_counter())
    load, prepare, start, _, scored = np.diff(times).tolist()
    steps = history.step_seconds[len(history.step_seconds) // 2 :]
    return UnitTimes(load + start, prepare / rows, median(steps), scored / len(data.splits["reported"]))


def _begun(experiment: Experiment, folder: Path) -> Calibration:
    """Return the earlier calibration if it still fits, else an empty one."""
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    device = *device_here(experiment), os.cpu_count() or 1, os.getloadavg()[0]  # cores and load of the whole machine
    new = Calibration(digest_of(experiment), created, *device, {})
    with suppress(UserError):  # the earlier calibration does not fit
        before = read_calibration(experiment, folder)
        if before is not None and (new.is_busy or not before.is_busy):
            return replace(new, load=max(before.load, new.load), tasks=before.tasks)
    return new


def _untimed(config: Config) -> TimedTask:
    """Return a task with its numbers of rows, and no times; raise if its data or weights are not on this machine."""
    check_model(config.model)
    rows = {}
    for kind, validation in (("tuning", "tuning"), ("reported", config.task.validation)):
        raw = load_task(replace(config.task, validation=validation), config.seed)
        rows[kind] = [len(raw.train), sum(map(len, raw.splits.values()))]
    return TimedTask(config.model.name, rows, {})


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _read(data: TaskData) -> int:
    """Read every row once, because an image is decoded only when it is read; return the number of rows."""
    return sum(1 for rows in (data.train, *data.splits.values()) for number in range(len(rows)) if rows[number])


def _sampled(raw: RawTask, config: Config) -> RawTask:
    """Draw random rows for a few batches of training and of scoring."""
    trainer, is_text = config.trainer, config.task.kind == "text"
    scored = _some(raw.splits["reported"], (SCORED if is_text else 1) * trainer.eval_batch_size)
    rows = np.arange(len(scored))
    train = _some(raw.train, (GROUPED if is_text else STEPS) * trainer.batch_size)
    return replace(raw, train=train, splits={"reported": scored}, rows={"reported": rows})


def _of_mean_length(data: TaskData, batch_size: int) -> TaskData:
    """Keep text rows for a few batches, as long as the batches of a run are on average; return images unchanged.

    A run groups rows of similar length into batches (Batches), and the time of a step grows with the longest row of
    its batch. A few random rows would be padded to the longest of them, and take two to three times as long.
    """
    if data.lengths is None:
        return data
    lengths = np.array(data.lengths)
    longest = [lengths[batch].max() for batch in Batches(len(lengths), batch_size, 0, data.lengths)]
    alike = np.argsort(np.abs(lengths - np.mean(longest)), kind="stable")[: STEPS * batch_size].tolist()
    return replace(data, train=Subset(data.train, alike), lengths=lengths[alike].tolist())


def _some(rows: Dataset, count: int) -> Dataset:
    return rows.select(np.random.default_rng(0).permutation(len(rows))[:count])
