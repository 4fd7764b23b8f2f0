"""Train and evaluate a run, and write its record before the tracker finishes."""

import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import PartialState
from peft import PeftModel, get_peft_model_state_dict

from surm_bench import records
from surm_bench.adapters.change import original_weights, weight_changes
from surm_bench.adapters.parameters import BASELINE_RANK, count_parameters, lora_parameters
from surm_bench.adapters.schedule import schedule
from surm_bench.config import Config
from surm_bench.records.record import Baseline, Memory, Parameters, Record, Timing
from surm_bench.records.store import FILE
from surm_bench.records.summary import summary
from surm_bench.run.build import adapt, build
from surm_bench.run.opening import opening
from surm_bench.system import environment
from surm_bench.system.atomic import atomic
from surm_bench.system.storage import check_space
from surm_bench.tasks import Objective, TaskData, TaskReader, objective_for
from surm_bench.tracking import Tracker, summary_of, track, with_score
from surm_bench.training import Checkpoint, History, fit

MARGIN = 2**21  # bytes of the record, and of headers and names in the other files
STATE = "state"  # the folder of the saved state, from which an interrupted run continues
CHOOSING = {"dev": "reported", "holdout": "validation", "tuning": "validation"}  # the split that chooses the best epoch


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
    folder = records.run_folder(config.results_dir, record.run_id)
    backbone, data = build(config, reader)
    lora = lora_parameters(backbone.module, backbone.roles)
    model = adapt(backbone, config)
    parameters = Parameters(**count_parameters(model))
    baseline = _against_lora(parameters.adapter, lora)
    hooks, objective, original = schedule(model), objective_for(config.task), original_weights(model)
    trained, data, prefix_seconds = _with_cached_prefix(model, data, config)
    environment.reset_peak_memory()
    checkpoint = _checkpoint(config, record, folder)
    main = PartialState().is_main_process
    if main:
        check_space(folder, needed_bytes(model, data, config), f"run {record.run_id}")
        announce(opening(config, record.run_id, parameters, baseline, data))
    shown = record.config.having(results_dir=config.results_dir)  # without the paths of data and weights
    tracked = track(shown, record.run_id, record.group_id) if main else nullcontext(Tracker())
    with tracked as tracker:
        history = fit(trained, data, objective, config, hooks=hooks, log=_log(tracker, shown), checkpoint=checkpoint)
        record = record.having(
            status="success",
            parameters=parameters,
            baseline=baseline,
            timing=_timing(history, prefix_seconds),
            memory=Memory(environment.peak_memory_bytes()),
            **results(history, objective, config),
        )
        if main:
            records.check_held(folder)
            if config.trainer.save_adapter:
                record = record.having(change=_rounded(weight_changes(model, original)))
                _save_adapter(model, folder)
            _save_predictions(history, objective, data, folder)
            wall = time.perf_counter() - began + _earlier_seconds(history)
            timing = replace(record.timing, wall_seconds=wall)
            with records.held(folder):
                files = records.describe_files(folder)
                record = records.write(record.having(files=files, timing=timing), config.results_dir)
            records.LINES.info(summary(record))
            checkpoint.clear()
            tracker.summary(summary_of(record))
            tracker.link(folder / FILE)
    return record


def needed_bytes(model: PeftModel, data: TaskData, config: Config) -> int:
    """Return the most bytes that a run writes: two training states (new and replaced), adapter and predictions.

    A state contains the trained parameters, with trainer.keep_best also their values in the best epoch, Adam's two
    moments, and the logits of the scored splits.
    """
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    saved = get_peft_model_state_dict(model, save_embedding_layers=False)  # else PEFT asks the hub for embedding sizes
    adapter = sum(t.numel() * t.element_size() for t in saved.values())
    rows = sum(len(split) for split in data.splits.values())
    state = (3 + config.trainer.keep_best) * trained + 4 * rows * (config.task.num_labels + 1)
    return 2 * state + adapter + 16 * rows + MARGIN


def results(history: History, objective: Objective, config: Config) -> dict[str, Any]:
    """Return the fields of a record that training fills: scores of every split at the last step and in the best epoch,
    the split that chose this epoch, and the course of training.
    """
    selection = CHOOSING[config.task.validation]
    last, best = history.evaluations[-1], objective.best(history.evaluations, selection)
    return {
        "scores": {split: {"last": last["scores"][split], "best": best["scores"][split]} for split in last["scores"]},
        "epochs": {name: {key: at[key] for key in ("epoch", "step")} for name, at in (("last", last), ("best", best))},
        "selection": selection,
        "kept": "best" if config.trainer.keep_best else "last",
        "examples": {split: len(labels) for split, labels in history.labels.items()},
        "history": history.evaluations,
        "segments": history.segments,
    }


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


def _with_cached_prefix(
    model: PeftModel, data: TaskData, config: Config
) -> tuple[torch.nn.Module, TaskData, float | None]:
    """Return the module to train, its data, and the seconds of computing the cached prefix, if there is one."""
    if not config.trainer.cache_prefix:
        return model, data, None
    from surm_bench.run.prefix_cache import cache_prefix  # imports timm, which takes a second

    clock = time.perf_counter()
    suffix, cached = cache_prefix(model, data, config.trainer)
    return suffix, cached, time.perf_counter() - clock


def _against_lora(adapter: int, lora: int) -> Baseline:
    return Baseline("lora", BASELINE_RANK, lora, lora / adapter if adapter else None)


def _timing(history: History, prefix_seconds: float | None) -> Timing:
    milliseconds = 1000 * np.array(history.step_seconds)
    return Timing(
        train_seconds=history.train_seconds,
        step_ms_median=float(np.median(milliseconds)),
        step_ms_p99=float(np.percentile(milliseconds, 99)),
        samples_per_second=history.examples / history.train_seconds,
        prefix_seconds=prefix_seconds,
    )


def _rounded(changes: list[dict]) -> list[dict]:
    """Round numbers to five digits to keep records small. Singular values need no more digits."""

    def short(value: object) -> object:
        if isinstance(value, list):
            return [short(inner) for inner in value]
        return float(f"{value:.5g}") if isinstance(value, float) else value

    return [{key: short(value) for key, value in row.items()} for row in changes]


def _earlier_seconds(history: History) -> float:
    """Return the training seconds of earlier processes of an interrupted run."""
    return sum(segment["train_seconds"] for segment in history.segments[:-1])


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
    shutil.rmtree(final, ignore_errors=True)
    temporary.replace(final)
