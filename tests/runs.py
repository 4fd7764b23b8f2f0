"""Runs of seconds, in this process or in others that share one import of torch."""

import multiprocessing
import os
import sys
from pathlib import Path

from surm_bench.composition import compose
from surm_bench.records import run_folder

SHORT = ["trainer.max_steps=6", "trainer.progress=false", "task.max_train_samples=120", "task.max_eval_samples=60"]
DIGITS = ["model=vit_digits", "task=digits"]
GRAMMAR = ["model=roberta_tiny", "task=grammar/acceptability"]
SIMILARITY = ["model=roberta_tiny", "task=grammar/similarity"]


def start(results_dir: Path, *overrides: str, short: bool = True, report=lambda line: None) -> dict:
    """Run and return the record."""
    from surm_bench.runner import run

    cfg = compose([*(SHORT if short else []), *overrides, f"results_dir={results_dir}"])
    return run(cfg, report=report)


def folder_of(results_dir: Path, record: dict) -> Path:
    return run_folder(results_dir, record["run_id"])


def begin(results_dir: Path, *overrides: str, short: bool = True) -> multiprocessing.Process:
    """``python -m surm_bench`` in a process of its own, not waited for; what it says goes to results_dir/<pid>.txt."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["surm_bench.runner"])
    arguments = [*(SHORT if short else []), *overrides, f"results_dir={results_dir}"]
    process = context.Process(target=_command, args=(arguments, str(results_dir)))
    process.start()
    return process


def said(results_dir: Path, process: multiprocessing.Process) -> str:
    return (results_dir / f"{process.pid}.txt").read_text()


def _command(arguments: list[str], folder: str) -> None:
    from surm_bench.command.main import run as command

    os.makedirs(folder, exist_ok=True)
    sys.stdout = sys.stderr = open(f"{folder}/{os.getpid()}.txt", "w", buffering=1)  # noqa: SIM115
    sys.argv = ["surm_bench", *arguments]
    command()
