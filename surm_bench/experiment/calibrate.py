"""Time a few steps of an experiment on the device at hand."""

import datetime
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset

from surm_bench import environment
from surm_bench.adapters.schedule import schedule
from surm_bench.build import adapt, build_model
from surm_bench.config import Config
from surm_bench.experiment.calibration import Calibration, Timed, Timing, digest_of, write_calibration
from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.jobs import composed, pair
from surm_bench.runner import checked, evaluate
from surm_bench.tasks import RawTask, load_task, objective_for, prepare
from surm_bench.training import fit, use_device

STEPS = 5  # of an epoch that warms up, and of the one that is timed


def calibrate(experiment: Experiment, folder: Path, places: Sequence[str] = ()) -> list[str]:
    """Time every adapter on the first task of each model and the first adapter on every task, and write what came out.

    All other pairs follow from these (Calibration.timing). What is not here or cannot be run is left out.

    Returns:
        A line for each reason to leave tasks or adapters out.
    """
    load = os.getloadavg()[0]
    tasks: dict[str, Timed] = {}
    left_out: dict[str, list[str]] = {}  # reason -> what
    for task in experiment.tasks:
        try:
            settings = _settings(experiment, task, next(iter(experiment.adapters)), folder, places)
            rows = {"tuning": _rows(settings, "tuning"), "reported": _rows(settings, settings.task.validation)}
        except Exception as error:  # of data that is not here; the other tasks can be timed
            left_out.setdefault(f"{error}".replace("\n", " "), []).append(task)
            continue
        known = {timed.model for timed in tasks.values()}
        adapters = list(experiment.adapters)[: 1 if settings.model.name in known else None]
        timings = {}
        for adapter in adapters:
            print(f"calibrating {experiment.name}: {adapter} on {task}")
            try:
                run = _settings(experiment, task, adapter, folder, places)
                if not tasks and not timings:
                    time_run(run)  # the first of a process is slower
                timings[adapter] = time_run(run)
            except Exception as error:  # of one adapter: too little memory, say
                left_out.setdefault(f"{error}".replace("\n", " "), []).append(f"{adapter} on {task}")
        if timings:
            tasks[task] = Timed(settings.model.name, rows, timings)
    if tasks:
        created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        device = environment.device_kind(), torch.get_num_threads(), os.cpu_count() or 1, max(load, os.getloadavg()[0])
        write_calibration(Calibration(digest_of(experiment), created, *device, tasks), folder)
    return [f"no time known: {', '.join(names)}: {reason}" for reason, names in left_out.items()]


def time_run(settings: Config) -> Timing:
    """Seconds of a run's parts: an epoch of a few batches warms up, another is timed, then a batch is scored."""
    use_device(settings.trainer.device)
    began = time.perf_counter()
    raw = load_task(settings.task, settings.seed)
    backbone = build_model(settings)
    data = prepare(_sampled(raw, settings), backbone.processor)
    model = adapt(backbone, settings)
    start = time.perf_counter() - began
    timed = {"epochs": 2, "max_steps": None, "eval_steps": None, "patience": None, "keep_best": False}
    trainer = replace(settings.trainer, **timed, progress=False)
    settings = replace(settings, trainer=trainer)
    history = fit(model, data, objective_for(settings.task), settings, hooks=schedule(model))
    steps = history.step_seconds[len(history.step_seconds) // 2 :]
    began = time.perf_counter()
    evaluate(model, data, settings)
    scored = time.perf_counter() - began
    return Timing(start, sum(steps) / len(steps), scored / len(data.splits["reported"]))


def _settings(experiment: Experiment, task: str, adapter: str, folder: Path, places: Sequence[str]) -> Config:
    cfg = composed(pair(experiment, task, adapter), (*places, f"results_dir={folder}"))
    return checked(cfg)[1]


def _rows(settings: Config, validation: str) -> tuple[int, int]:
    raw = load_task(replace(settings.task, validation=validation), settings.seed)
    return len(raw.train), sum(map(len, raw.splits.values()))


def _sampled(raw: RawTask, settings: Config) -> RawTask:
    """Rows at random for some batches of training and one of scoring."""
    trainer = settings.trainer
    scored = _some(raw.splits["reported"], trainer.eval_batch_size)
    rows = np.arange(len(scored))
    train = _some(raw.train, STEPS * trainer.batch_size)
    return replace(raw, train=train, splits={"reported": scored}, rows={"reported": rows})


def _some(rows: Dataset, count: int) -> Dataset:
    return rows.select(np.random.default_rng(0).permutation(len(rows))[:count])
