"""Train and evaluate a run and write its record. The record is written before the tracker finishes."""

import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import PartialState
from peft import PeftModel, get_peft_model_state_dict

from surm_bench import records
from surm_bench.adapters.change import original_weights, weight_changes
from surm_bench.adapters.parameters import compare_with_lora, count_parameters, lora_parameters
from surm_bench.adapters.schedule import schedule
from surm_bench.config import Config
from surm_bench.records.summary import summary
from surm_bench.run.build import adapt, build
from surm_bench.run.prefix_cache import cache_prefix
from surm_bench.system import environment
from surm_bench.system.atomic import atomic
from surm_bench.system.storage import check_space
from surm_bench.tasks import Objective, TaskData, objective_for
from surm_bench.tracking import Tracker, summary_of, track, with_score
from surm_bench.training import Checkpoint, History, fit

MARGIN = 2**21  # bytes of the record, and of headers and names in the other files
STATE = "state"  # the folder of the saved state, from which an interrupted run continues
CHOOSING = {"dev": "reported", "holdout": "validation", "tuning": "validation"}  # the split that chooses the best epoch


def measure(settings: Config, record: dict, folder: Path, began: float) -> dict:
    """Train, evaluate and write the record, the predictions and the adapter. Return the record as written.

    Args:
        record: the parts of the record that are known before training: configuration, environment and code.
        began: when the run began, by time.perf_counter().

    Raises:
        Diverged: the loss is not finite.
        Lost: another worker took over the run.
        StorageError: the disk has too little space, or the folder no longer exists.
    """
    backbone, data = build(settings)
    lora = lora_parameters(backbone.module, backbone.roles)
    model = adapt(backbone, settings)
    parameters = count_parameters(model)
    known = {"parameters": parameters, "baseline": compare_with_lora(parameters, lora)}
    hooks, objective, original = schedule(model), objective_for(settings.task), original_weights(model)
    trained, data, timing = _with_cached_prefix(model, data, settings)
    environment.reset_peak_memory()
    where = ("git_commit", "device", "device_kind", "threads", "processes")
    about = {"created": record["created"], **{key: record["environment"][key] for key in where}}
    held = partial(records.check_held, folder)
    checkpoint = Checkpoint(folder / STATE, _code(record, settings), settings.trainer.save_seconds, about, held)
    main = PartialState().is_main_process
    if main:
        check_space(folder, needed_bytes(model, data, settings), f"run {record['run_id']}")
    config = record["config"] | {"results_dir": settings.results_dir}
    tracked = track(config, record["run_id"], record["group_id"]) if main else nullcontext(Tracker())
    with tracked as tracker:
        history = fit(trained, data, objective, settings, hooks=hooks, log=_log(tracker, config), checkpoint=checkpoint)
        found = record | known | results(history, objective, settings.task.validation, settings.trainer.keep_best)
        found["timing"] = timing | _timing(history)
        found["memory"] = {"peak_bytes": environment.peak_memory_bytes()}
        if main:
            held()
            if settings.trainer.save_adapter:
                found["change"] = _rounded(weight_changes(model, original))
                _save_adapter(model, folder)
            _save_predictions(history, objective, data, folder)
            found["files"] = records.describe_files(folder)
            found["timing"]["wall_seconds"] = time.perf_counter() - began + _earlier_seconds(history)
            with records.held(folder):
                found = records.write(found | {"status": "success"}, settings.results_dir)
            records.LINES.info(summary(found))
            checkpoint.clear()
            tracker.summary(summary_of(found))
    return found


def needed_bytes(model: PeftModel, data: TaskData, settings: Config) -> int:
    """Return the most bytes that a run writes: two training states (new and replaced), adapter and predictions.

    A state contains the trained parameters, with trainer.keep_best also their values in the best epoch, Adam's two
    moments, and the logits of the scored splits.
    """
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    saved = get_peft_model_state_dict(model, save_embedding_layers=False)  # else PEFT asks the hub for embedding sizes
    adapter = sum(t.numel() * t.element_size() for t in saved.values())
    rows = sum(len(split) for split in data.splits.values())
    state = (3 + settings.trainer.keep_best) * trained + 4 * rows * (settings.task.num_labels + 1)
    return 2 * state + adapter + 16 * rows + MARGIN


def _log(tracker: Tracker, config: dict) -> Callable[[dict[str, float], int], None]:
    return lambda values, step: tracker.log(with_score(values, config), step)


def _code(record: dict, settings: Config) -> str:
    """Return the digests of the code: a saved state is continued only by equal code.

    A cached prefix counts as other code, because the parameters then have other names.
    """
    prefix = "cached prefix" if settings.trainer.cache_prefix else None
    return ", ".join(filter(None, (*record["code"].values(), prefix)))


def _with_cached_prefix(model: PeftModel, data: TaskData, settings: Config) -> tuple[torch.nn.Module, TaskData, dict]:
    """Return the module to train, its data, and the seconds of computing the cached prefix, if there is one."""
    if not settings.trainer.cache_prefix:
        return model, data, {}
    clock = time.perf_counter()
    suffix, cached = cache_prefix(model, data, settings.trainer)
    return suffix, cached, {"prefix_seconds": time.perf_counter() - clock}


def results(history: History, objective: Objective, validation: str, keep_best: bool = False) -> dict:
    """Return the scores of every split at the last step and in the best epoch. ``selection`` names the split that
    chooses the best epoch.
    """
    selection = CHOOSING[validation]
    last, best = history.evaluations[-1], objective.best(history.evaluations, selection)
    return {
        "scores": {split: {"last": last["scores"][split], "best": best["scores"][split]} for split in last["scores"]},
        "epochs": {name: {key: at[key] for key in ("epoch", "step")} for name, at in (("last", last), ("best", best))},
        "selection": selection,
        "kept": "best" if keep_best else "last",
        "examples": {split: len(labels) for split, labels in history.labels.items()},
        "history": history.evaluations,
        "segments": history.segments,
    }


def _timing(history: History) -> dict[str, float]:
    milliseconds = 1000 * np.array(history.step_seconds)
    return {
        "train_seconds": history.train_seconds,
        "step_ms_median": float(np.median(milliseconds)),
        "step_ms_p99": float(np.percentile(milliseconds, 99)),
        "samples_per_second": history.examples / history.train_seconds,
    }


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
