"""Records that no run made, with what agreement and collecting read of them."""

from pathlib import Path

import pandas as pd

from surm_bench import records

A, B = "a" * 12, "b" * 12
MACHINE = {"device": "cpu", "device_kind": "EPYC, AVX512", "threads": 1, "processes": 1, "torch": "2.13.0"}


def record(run_id: str = A, accuracy: float = 0.75, n: int = 400, created: str = "2026-01-01", **more) -> dict:
    """A finished run; what is in neither the environment nor the record is added to it."""
    environment = (
        MACHINE | {"git_dirty": False} | {key: more.pop(key) for key in (*MACHINE, "git_dirty") if key in more}
    )
    scores = {"accuracy": accuracy}
    return {
        "run_id": run_id,
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
    } | more


def ended(status: str, run_id: str = A, **more) -> dict:
    """A run without scores."""
    return {key: value for key, value in record(run_id, status=status, **more).items() if key != "scores"}


def write_with_predictions(folder: Path, made: dict, predictions: list[float]) -> dict:
    """Write a record, and predictions beside it."""
    run = records.run_folder(folder, made["run_id"])
    run.mkdir(parents=True, exist_ok=True)
    rows = {"split": "reported", "row": range(len(predictions)), "label": 0.0, "prediction": predictions}
    pd.DataFrame(rows).to_parquet(run / "predictions.parquet", index=False)
    return records.write(made | {"files": records.describe_files(run)}, folder)
