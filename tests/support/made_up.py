"""Records that no run made, with what agreement and collecting read of them."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from surm_bench import records
from surm_bench.config.composition import resolved
from surm_bench.records import Record

CONFIG = resolved(["model=vit_digits", "task=digits", "adapter=circulant"]).document()
A, B = "a" * 12, "b" * 12
MACHINE = {"device": "cpu", "device_kind": "EPYC, AVX512", "threads": 1, "processes": 1, "torch": "2.13.0"}


def record(run_id: str = A, accuracy: float = 0.75, n: int = 400, created: str = "2026-01-01", **more) -> Record:
    """The record of a finished run. Fields of the environment and of the record replace those here."""
    environment = (
        MACHINE | {"git_dirty": False} | {key: more.pop(key) for key in (*MACHINE, "git_dirty") if key in more}
    )
    scores = {"accuracy": accuracy}
    document = {
        "run_id": run_id,
        "config": CONFIG,
        "group_id": "c" * 12,
        "status": "success",
        "primary_metric": "accuracy",
        "scores": {"reported": {"last": scores, "best": scores}},
        "examples": {"reported": n},
        "environment": environment,
        "segments": [{key: environment[key] for key in ("device_kind", "threads")}],
        "code": {"sources": "d" * 12, "method": None},
        "created": created,
        "attempts": 1,
        "files": {},
    }
    return Record.of_document(document | more).having()  # having: not a record that was read


def ended(status: str, run_id: str = A, **more) -> Record:
    """A run without scores."""
    return record(run_id, status=status, **more).having(scores={})


def write_with_predictions(folder: Path, made: Record, predictions: list[float]) -> Record:
    """Write a record, and predictions beside it."""
    run = records.run_folder(folder, made.run_id)
    run.mkdir(parents=True, exist_ok=True)
    rows = {"split": "reported", "row": range(len(predictions)), "label": 0.0, "prediction": predictions}
    pd.DataFrame(rows).to_parquet(run / "predictions.parquet", index=False)
    return records.write(made.having(files=records.describe_files(run)), folder)


def changed(record: Record, **fields) -> Record:
    """A copy of a record with other fields, given as JSON values."""
    return Record.of_document(record.document() | fields).having()


def committed(record: Record) -> Record:
    """A copy of a record whose code is all committed, so that it can be collected."""
    return record.having(environment=replace(record.environment, git_dirty=False))
