"""Train and evaluate a run, and write its record, predictions and adapter before the tracker finishes."""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from accelerate import PartialState
from peft import PeftModel, get_peft_model_state_dict
from torch import Tensor, nn

from surm_bench import records
from surm_bench.adapters.change import original_weights, weight_changes
from surm_bench.adapters.hooks import Hooks
from surm_bench.adapters.parameters import BASELINE_RANK, count_parameters, lora_parameters
from surm_bench.adapters.training_hooks import training_hooks
from surm_bench.config import Config
from surm_bench.records.record import Baseline, Memory, Parameters, Record
from surm_bench.records.store import RECORD_FILE
from surm_bench.run.build import adapt, build
from surm_bench.run.opening import opening
from surm_bench.run.outcome import earlier_seconds, results, rounded, timing, write_outcome
from surm_bench.system import environment
from surm_bench.system.atomic import atomic
from surm_bench.system.storage import check_space
from surm_bench.tasks import Objective, TaskData, TaskReader, objective_for
from surm_bench.tracking import Tracker, summary_of, track, with_score
from surm_bench.training import Checkpoint, History, fit

MARGIN = 2**21  # bytes of the record, and of headers and names in the other files
MOST_MEANS = 3  # running means of a trained number that a method keeps: AdaLoRA's importance and its two means
STATE = "state"  # the folder of the saved state, from which an interrupted run continues


@dataclass
class Start:
    """A run before its first step.

    Attributes:
        model: the backbone with the adapter.
        module: the module to train: the model, or its part behind a cached prefix, which shares its parameters.
        data: the task as inputs of the module.
        original: the weights that the adapter changes, before training (surm_bench.adapters.change).
        prefix_seconds: the seconds of computing the cached prefix; None without one.
    """

    model: PeftModel
    module: nn.Module
    data: TaskData
    hooks: Hooks | None
    original: dict[str, Tensor]
    parameters: Parameters
    baseline: Baseline
    prefix_seconds: float | None


def train_and_record(
    config: Config, record: Record, reader: TaskReader, began: float, announce: Callable[[str], None]
) -> Record:
    """Train, evaluate and write the record, the predictions and the adapter. Return the record as written.

    Args:
        record: the fields that are known before training: configuration, environment and code.
        reader: the reader of the task.
        began: when the run began, by time.perf_counter().
        announce: called before training with lines that say what is trained.

    Raises:
        Diverged: the loss is not finite.
        Lost: another worker took over the run.
        StorageError: the disk has too little space, or the folder no longer exists.
    """
    folder, main = records.run_folder(config.results_dir, record.run_id), PartialState().is_main_process
    start, objective = _prepared(config, reader), objective_for(config.task)
    checkpoint = _checkpoint(config, record, folder)
    if main:
        check_space(folder, needed_bytes(start, config), f"run {record.run_id}")
        announce(opening(config, record.run_id, start.parameters, start.baseline, start.data))
    shown = record.config.having(results_dir=config.results_dir)  # without the paths of data and weights
    tracked = track(shown, record.run_id, record.group_id) if main else nullcontext(Tracker())
    with tracked as tracker:
        log = _log(tracker, shown)
        history = fit(start.module, start.data, objective, config, hooks=start.hooks, log=log, checkpoint=checkpoint)
        record = record.having(
            status="success",
            parameters=start.parameters,
            baseline=start.baseline,
            timing=timing(history, start.prefix_seconds),
            train_examples=len(start.data.train),
            memory=Memory(environment.peak_memory_bytes()),
            **results(history, objective, config),
        )
        if main:
            records.check_held(folder)
            shutil.rmtree(folder / "adapter", ignore_errors=True)  # of an earlier run; the record describes this run's
            if config.trainer.save_adapter:
                record = record.having(change=rounded(weight_changes(start.model, start.original)))
                _save_adapter(start.model, folder)
            _save_predictions(history, objective, start.data, folder)
            wall = time.perf_counter() - began + earlier_seconds(history)
            record = record.having(timing=replace(record.timing, wall_seconds=wall))
            record = write_outcome(record, config.results_dir)
            checkpoint.clear()
            tracker.summary(summary_of(record))
            tracker.link(folder / RECORD_FILE)
    return record


def _prepared(config: Config, reader: TaskReader) -> Start:
    """Read the data, build the model with its adapter, count its parameters, and compute the prefix to be cached."""
    backbone, data = build(config, reader)
    lora = lora_parameters(backbone.module, backbone.roles)
    model = adapt(backbone, config)
    parameters = Parameters(**count_parameters(model))
    hooks, original = training_hooks(model), original_weights(model)
    module, data, prefix_seconds = _with_cached_prefix(model, data, config)
    environment.reset_peak_memory()
    baseline = Baseline("lora", BASELINE_RANK, lora, lora / parameters.adapter if parameters.adapter else None)
    return Start(model, module, data, hooks, original, parameters, baseline, prefix_seconds)


def needed_bytes(start: Start, config: Config) -> int:
    """Return the most bytes that a run writes: two training states (new and replaced), adapter and predictions.

    A state contains the model's buffers, the trained parameters, Adam's two moments, the running means of a method's
    hooks, and the logits of the scored splits; with trainer.keep_best also the best epoch's parameters, buffers and
    means.
    """
    model = start.model
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    saved = get_peft_model_state_dict(model, save_embedding_layers=False)  # else PEFT asks the hub for embedding sizes
    adapter = sum(t.numel() * t.element_size() for t in saved.values())
    rows = sum(len(split) for split in start.data.splits.values())
    buffers = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    means = MOST_MEANS * trained if start.hooks else 0
    kept = 2 if config.trainer.keep_best else 1
    state = 2 * trained + kept * (trained + buffers + means) + 4 * rows * (config.task.num_labels + 1)
    return 2 * state + adapter + 16 * rows + MARGIN


def _log(tracker: Tracker, config: Config) -> Callable[[dict[str, float], int], None]:
    return lambda values, step: tracker.log(with_score(values, config), step)


def _checkpoint(config: Config, record: Record, folder: Path) -> Checkpoint:
    """Return the checkpoint of the run. A saved state is continued only by equal code.

    A cached prefix counts as other code, because the parameters then have other names.
    """
    prefix = "cached prefix" if config.trainer.cache_prefix else None
    code = ", ".join(filter(None, (record.code.sources, record.code.method, prefix)))
    where = ("git_commit", "device", "device_kind", "threads", "processes")
    about = {"created": record.created, **{name: getattr(record.environment, name) for name in where}}
    return Checkpoint(folder / STATE, code, config.trainer.save_seconds, about, partial(records.check_held, folder))


def _with_cached_prefix(model: PeftModel, data: TaskData, config: Config) -> tuple[nn.Module, TaskData, float | None]:
    """Return the module to train, its data, and the seconds of computing the cached prefix, if there is one."""
    if not config.trainer.cache_prefix:
        return model, data, None
    from surm_bench.run.prefix_cache import cache_prefix  # imports timm, which takes a second

    clock = time.perf_counter()
    suffix, cached = cache_prefix(model, data, config.trainer)
    return suffix, cached, time.perf_counter() - clock


def _save_predictions(history: History, objective: Objective, data: TaskData, folder: Path) -> None:
    """Write label and prediction of every example of the scored splits, with its row number in the original split."""
    frames = [
        pd.DataFrame(
            {
                "split": split,
                "row": np.asarray(data.rows[split], dtype=np.int32),
                "label": history.labels[split].astype(np.float32),
                "prediction": objective.predictions(logits).astype(np.float32),
            }
        ).sort_values("row")
        for split, logits in history.predictions.items()
    ]
    with atomic(folder / "predictions.parquet") as temporary:
        pd.concat(frames).to_parquet(temporary, index=False, compression="zstd")


def _save_adapter(model: PeftModel, folder: Path) -> None:
    """Save the current adapter and head beside the record, completely or not at all."""
    temporary, final = folder / ".adapter", folder / "adapter"
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary, save_embedding_layers=False)
    for file in temporary.iterdir():  # before renaming, so that a power cut leaves complete files
        with file.open("rb") as written:
            os.fsync(written.fileno())
    temporary.replace(final)
