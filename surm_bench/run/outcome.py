"""The outcome of a run in its record: the fields that training fills, and the one place that writes the record."""

from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState

from surm_bench import records
from surm_bench.config import Config
from surm_bench.records.record import Record, Timing
from surm_bench.records.summary import summary
from surm_bench.tasks import Objective
from surm_bench.training import History

CHOOSING = {"dev": "reported", "holdout": "validation", "tuning": "validation"}  # the split that chooses the best epoch


def write_outcome(record: Record, results_dir: str) -> Record:
    """Write the record of a run that has ended, and return it as written. Only the main process writes.

    The record of a success describes the files that the run wrote. When a finished run is repeated, only another result
    replaces its result.

    Raises:
        Lost: another worker took over the run.
        StorageError: the folder no longer exists.
    """
    if not PartialState().is_main_process:
        return record
    folder = records.run_folder(results_dir, record.run_id)
    with records.held(folder):
        if record.status == "success":
            record = record.having(files=records.describe_files(folder))
        if record.is_done or not _has_result(folder):
            record = records.write(record, results_dir)
            records.LINES.info(summary(record))
    return record


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


def timing(history: History, prefix_seconds: float | None) -> Timing:
    """Return the times of a record, except the wall time of the whole run."""
    milliseconds = 1000 * np.array(history.step_seconds)
    return Timing(
        train_seconds=history.train_seconds,
        step_ms_median=float(np.median(milliseconds)),
        step_ms_p99=float(np.percentile(milliseconds, 99)),
        samples_per_second=history.examples / history.train_seconds,
        prefix_seconds=prefix_seconds,
    )


def rounded(changes: list[dict]) -> list[dict]:
    """Round numbers to five digits to keep records small. Singular values need no more digits."""

    def short(value: object) -> object:
        if isinstance(value, list):
            return [short(inner) for inner in value]
        return float(f"{value:.5g}") if isinstance(value, float) else value

    return [{key: short(value) for key, value in row.items()} for row in changes]


def earlier_seconds(history: History) -> float:
    """Return the training seconds of earlier processes of an interrupted run."""
    return sum(segment["train_seconds"] for segment in history.segments[:-1])


def _has_result(folder: Path) -> bool:
    earlier = records.read_folder(folder)
    return earlier is not None and earlier.is_done
