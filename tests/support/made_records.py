"""A small experiment on the digits, and records of its runs that nobody trained."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from surm_bench import records
from surm_bench.config import Config
from surm_bench.config.identity import group_id, run_id
from surm_bench.errors import UserError
from surm_bench.experiment import Experiment, Job, Tuning, contents, load_experiment
from surm_bench.experiment.contents import with_content
from surm_bench.experiment.jobs import resolved, trial_jobs
from surm_bench.experiment.search import Trial
from surm_bench.hub.needs import check_download
from surm_bench.records import Record
from surm_bench.run import runner
from surm_bench.tasks import TaskReader
from surm_bench.training import Diverged

LR = "optimizer.lr"
FEW = ["task.max_train_samples=100", "task.max_eval_samples=40", "task.validation_rows=40"]
ENVIRONMENT = {
    "device": "cpu (2 cores)",
    "device_kind": "cpu",
    "threads": 2,
    "platform": "Linux",
    "git_commit": "c",
    "git_dirty": False,
}
COUNTS = {"circulant": 1024, "lora": 2048, "full": 9000, "linear_probe": 0}


def tiny_experiment() -> Experiment:
    """Two adapters on the digits, whose content is declared; eight steps; two rates for one of the adapters."""
    return Experiment(
        name="tiny",
        tasks={"digits": load_experiment("demo")[0].tasks["digits"]},
        adapters={"circulant": ["adapter=circulant"], "lora": ["adapter=lora", "adapter.peft.r=1"]},
        seeds=[0, 1],
        overrides=["trainer.max_steps=8", "trainer.progress=false", *FEW],
        tuning=Tuning(seeds=[100], knobs={"default": {LR: [1e-4, 1e-2]}, "lora": {LR: [1e-3]}}),
    )


def undeclared_experiment() -> Experiment:
    """The tiny experiment, whose data have no declared digest: they are read to get it."""
    tiny = tiny_experiment()
    tiny.tasks["digits"] = [override for override in tiny.tasks["digits"] if not override.startswith("task.digest")]
    return tiny


CHOICES = {("digits", "circulant"): ((LR, 1e-2),), ("digits", "lora"): ((LR, 1e-3),)}


def segments(environment: dict) -> list[dict]:
    """A run that was never interrupted, where its record says."""
    return [{"device_kind": environment["device_kind"], "threads": environment["threads"]}]


def measured(config: Config, score: float) -> dict:
    """What a run of this configuration says of itself once it is done: one score, the same after each half."""
    split = "validation" if config.task.validation == "tuning" else "reported"
    scores = {"accuracy": score}
    count = COUNTS[config.adapter.name]
    return {
        "status": "success",
        "scores": {split: {"last": scores, "best": scores}},
        "selection": split,
        "examples": {split: 100},
        "train_examples": 100,
        "history": [{"epoch": i, "step": 4 + 4 * i, "train_loss": 1.0, "scores": {split: scores}} for i in (0, 1)],
        "parameters": {
            "adapter": count,
            "head": 650,
            "other": 0,
            "total": 9999,
            "stored": 9,
        },
        "baseline": {"method": "lora", "r": 8, "parameters": 8192, "ratio": 8192 / count if count else None},
        "timing": {"train_seconds": 1.0, "wall_seconds": 2.0, "step_ms_median": 3.0},
    }


def make_record(job: Job, folder: Path, score: float = 0.5, status: str = "success", **fields) -> Record:
    """Write a record of the job as the runner would; fields replace its own."""
    config = with_content(resolved(job))
    outcome = measured(config, score) if status == "success" else {"error": "the loss is nan at step 3"}
    environment = fields.get("environment", ENVIRONMENT)
    if "timing" in fields:
        fields["timing"] = {"train_seconds": 1.0, "step_ms_median": 3.0} | fields["timing"]
    record = {
        "run_id": run_id(config),
        "group_id": group_id(config),
        "config": config.document(),
        "code": {"sources": "s", "method": None},
        "environment": environment,
        "segments": segments(environment),
        "seed": config.seed,
        "primary_metric": "accuracy",
        "greater_is_better": True,
        "created": "2026-01-01T00:00:00+00:00",
        "attempts": 1,
        "files": {},
    }
    made = Record.of_document(record | outcome | {"status": status} | fields)
    return records.write(made.having(), folder)


def make_trials(folder: Path, chosen: float = 0.6, other: float = 0.4, **fields) -> None:
    """Records of the tiny experiment's tuning; CHOICES have the score ``chosen``, by which they are chosen."""
    experiment = tiny_experiment()
    for adapter in experiment.adapters:
        for setting in experiment.settings(adapter):
            score = chosen if setting == CHOICES["digits", adapter] else other
            for job in trial_jobs(experiment, "digits", adapter, Trial(setting)):
                make_record(job, folder, score, **fields)


def predicted(record: Record, predictions: np.ndarray, rows: Sequence[int] | None = None) -> pd.DataFrame:
    """What a record predicted on its reported split, as predictions.parquet has it; every label is 1."""
    about = {"run_id": record.run_id, "record": record.checksum, "split": "reported"}
    rows = range(len(predictions)) if rows is None else rows
    return pd.DataFrame({**about, "row": rows, "label": 1.0, "prediction": predictions.astype(float)})


def refuse_downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let content be read only where downloads are refused. Returns the list of what has been read so far."""
    names, read = [], contents.read_content

    def read_here(content: contents.Content) -> str:
        with pytest.raises(UserError, match="the first run downloads it"):
            check_download(content.name)
        names.append(content.name)
        return read(content)

    monkeypatch.setattr(contents, "read_content", read_here)
    return names


def without_training(monkeypatch: pytest.MonkeyPatch, surface: Callable[[Config], float | None]) -> list[tuple]:
    """Let the runner do all it does but train: ``surface`` says from the configuration what a run scores.

    None is a run that diverges; what it raises breaks the run off. Returns the list of runs "trained" so far, each as
    (adapter, seed, rate).
    """
    trained = []

    def train_and_record(config: Config, record: Record, reader: TaskReader, began: float, announce) -> Record:
        trained.append((config.adapter.name, config.seed, config.optimizer.lr))
        score = surface(config)
        if score is None:
            raise Diverged("the loss", 3, float("nan"))
        environment = asdict(record.environment) | {"git_dirty": False}
        where = {"environment": environment, "segments": segments(environment)}
        made = Record.of_document(record.document() | where | measured(config, score))
        return records.write(made.having(), config.results_dir)

    monkeypatch.setattr(runner, "train_and_record", train_and_record)
    return trained
