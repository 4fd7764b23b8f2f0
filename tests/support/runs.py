"""Runs of seconds, in this process or in others that share one import of torch."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from surm_bench.config.composition import resolved
from surm_bench.records import Record, run_folder

SHORT = ["trainer.max_steps=4", "trainer.progress=false", "task.max_train_samples=64", "task.max_eval_samples=32"]
SHORT += ["task.validation_rows=100"]  # of the rows held out, if any
DIGITS = ["model=vit_digits", "task=digits"]
GRAMMAR = ["model=roberta_tiny", "task=grammar/acceptability"]
SIMILARITY = ["model=roberta_tiny", "task=grammar/similarity"]
ENDLESS = [*DIGITS, "adapter=lora", "trainer.max_steps=100000", "trainer.epochs=100000"]
# One adapter of each class of ours, and of PEFT's those that start, save or train in a way of their own; test_configs
# has them all.
ADAPTERS = [
    "adalora", "adapter_circulant", "adapter_drop", "adapter_houlsby", "bitfit", "circulant", "full", "hadamard",
    "ia3", "kronecker", "layernorm", "linear_probe", "lora", "lora_xs", "lorta", "melora", "pissa", "shira", "vera",
    "prefix", "dora_dynamic", "lora2", "aurora", "fact", "repadapter", "ssf",
]  # fmt: skip
SMALLER = {"adapter_houlsby": ["adapter.peft.bottleneck=4"], "adapter_drop": ["adapter.first_layer=1"]}


def start(results_dir: Path, *overrides: str, short: bool = True, report=lambda line: None, **values) -> Record:
    """Run and return the record.

    Args:
        values: of the configuration, such as seed.
    """
    from surm_bench.run.runner import run

    config = resolved([*(SHORT if short else []), *overrides])
    return run(config.having(results_dir=str(results_dir), **values), report=report)


def check_config(optimizer: dict | None = None, trainer: dict | None = None, seed: int = 0, **task) -> None:
    """Refuse these values of a configuration as a run does before anything is read."""
    from surm_bench.training import check_device

    config = resolved(DIGITS).having(optimizer=optimizer or {}, trainer=trainer or {}, task=task, seed=seed)
    config.check()
    check_device(config.trainer)


def folder_of(results_dir: Path, record: dict) -> Path:
    return run_folder(results_dir, record.run_id)


def begin(results_dir: Path, *overrides: str, short: bool = True) -> multiprocessing.Process:
    """``python -m surm_bench`` in a process of its own, not waited for; what it says goes to results_dir/<pid>.txt."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["surm_bench.run.runner"])
    arguments = [*(SHORT if short else []), *overrides, f"results_dir={results_dir}"]
    process = context.Process(target=_command, args=(arguments, str(results_dir)))
    process.start()
    return process


def said(results_dir: Path, process: multiprocessing.Process) -> str:
    return (results_dir / f"{process.pid}.txt").read_text()


def wait_for(condition: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def stop(process, number: int = signal.SIGTERM) -> None:
    os.kill(process.pid, number)
    process.join(300)


def _command(arguments: list[str], folder: str) -> None:
    from surm_bench.command.main import run as command

    os.makedirs(folder, exist_ok=True)
    sys.stdout = sys.stderr = open(f"{folder}/{os.getpid()}.txt", "w", buffering=1)  # noqa: SIM115
    sys.argv = ["surm_bench", *arguments]
    command()
