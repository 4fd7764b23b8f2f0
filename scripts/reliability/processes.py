"""Runs in processes of their own, as a user starts them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from surm_bench import records

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "300",
}  # fmt: skip
DIGITS = ["model=vit_digits", "task=digits"]
QUIET = ["trainer.progress=false"]


def begin(*arguments: str, before: tuple[str, ...] = (), environment: dict | None = None) -> subprocess.Popen:
    """``python -m surm_bench`` with these arguments, not waited for."""
    command = [*before, sys.executable, "-m", "surm_bench", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=ENVIRONMENT | (environment or {}), **pipes)


def end(process: subprocess.Popen, seconds: float | None = None) -> tuple[int, str, bool]:
    """Exit code, output, and whether it was killed as it had not ended after so many seconds."""
    try:
        output, _ = process.communicate(timeout=seconds)
        return process.returncode, output, False
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        return process.returncode, output, True


def last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1] if lines else ""


def wait_for(condition, seconds: float = 900) -> None:
    """Until it is true; raises TimeoutError."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("it took too long")
        time.sleep(0.02)


def outcome(folder: Path) -> tuple | str:
    """What must be equal of the one run below a folder; what is wrong, where there is no such run."""
    archive = records.Archive(folder)
    if archive.problems or len(archive.records()) != 1:
        return f"{len(archive.records())} records; {archive.problems}"
    record = archive.records()[0]
    adapter = record.files.get("adapter/adapter_model.safetensors")
    return record.status, record.scores, record.history, adapter


def table(head: list[str], rows: Iterable[list]) -> list[list]:
    """Print it as Markdown, each row as soon as it is there; returns the rows."""
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    found = []
    for row in rows:
        found.append(row)
        print(f"| {' | '.join(map(str, row))} |", flush=True)
    return found
