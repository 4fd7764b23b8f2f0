"""Processes of surm-bench, started as a user starts them, and what they leave."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from surm_bench import records

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "300",
}  # fmt: skip
DIGITS = ["model=vit_digits", "task=digits"]
QUIET = ["trainer.progress=false"]


def begin(*arguments: str, before: tuple[str, ...] = (), environment: dict | None = None) -> subprocess.Popen:
    """Start ``python -m surm_bench`` with these arguments and return the process.

    Args:
        arguments: of surm-bench.
        before: a command that starts the process, such as unshare with its options.
        environment: further environment variables.
    """
    command = [*before, sys.executable, "-m", "surm_bench", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=ENVIRONMENT | (environment or {}), **pipes)


def end(process: subprocess.Popen, seconds: float | None = None) -> tuple[int, str, bool]:
    """Wait for a process, and kill it after `seconds`; return its exit code, its output and whether it was killed."""
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


def wait_for(condition: Callable[[], object], seconds: float = 900) -> None:
    """Wait until the condition is true.

    Raises:
        TimeoutError: it is not true after `seconds`.
    """
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("it took too long")
        time.sleep(0.02)


def outcome(folder: Path) -> tuple | str:
    """Return what must be equal in a repetition of the only run in a results folder, or say what is wrong there."""
    archive = records.Archive(folder)
    if archive.problems or len(archive.records()) != 1:
        return f"{len(archive.records())} records; {archive.problems}"
    record = archive.records()[0]
    adapter = record.files.get("adapter/adapter_model.safetensors")
    return record.status, record.scores, record.history, adapter


def table(head: list[str], rows: Iterable[list]) -> list[list]:
    """Print a Markdown table, each row as soon as it is made; return the rows."""
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    found = []
    for row in rows:
        found.append(row)
        print(f"| {' | '.join(map(str, row))} |", flush=True)
    return found
