"""The cost of saving states: the part of a run's time in which it saves its state instead of training.

The check whether a state is due counts, too. Training and saving are timed in one process, so that a busy machine slows
down both.
"""

import sys
import tempfile
import time
from contextlib import redirect_stdout
from unittest import mock

from reliability.processes import QUIET, table
from surm_bench import records
from surm_bench.command.main import command
from surm_bench.training.loop import Training
from surm_bench.training.state import Checkpoint

RUN = ["model=minilm", "task=grammar/sentiment", "trainer.batch_size=32", "trainer.epochs=1000", *QUIET]
ADAPTERS = ["circulant", "lora", "full"]
MOST = 0.02


def report(number: int) -> bool:
    """Print the cost for runs of `number` steps; return whether it is at most 2 % of each run."""
    head = ["adapter", "state, MB", "states saved", "training, s", "of it saving, s", "part, %"]
    rows = table(head, ([adapter, *_case(adapter, number)] for adapter in ADAPTERS))
    return all(float(row[-1]) <= 100 * MOST for row in rows)


def _case(adapter: str, steps: int) -> list[object]:
    seconds, sizes = [], []
    pause, write = Training.save_if_due, Checkpoint.write

    def timed_pause(*arguments, **named) -> None:
        began = time.perf_counter()
        pause(*arguments, **named)
        seconds.append(time.perf_counter() - began)

    def sized_write(checkpoint: Checkpoint, state: dict) -> None:
        write(checkpoint, state)
        sizes.append(checkpoint.file.stat().st_size)

    timed = mock.patch.object(Training, "save_if_due", timed_pause)
    sized = mock.patch.object(Checkpoint, "write", sized_write)
    with tempfile.TemporaryDirectory() as folder, timed, sized, redirect_stdout(sys.stderr):
        overrides = [*RUN, f"adapter={adapter}", f"trainer.max_steps={steps}", f"results_dir={folder}"]
        command(["run", *overrides, "trainer.eval_steps=100000"])
        (record,) = records.Archive(folder).records()
    saved = sum(seconds)
    total = record.timing.train_seconds + saved  # train_seconds does not include saving
    size = f"{max(sizes, default=0) / 1e6:.1f}"
    return [size, len(sizes), f"{total:.1f}", f"{saved:.2f}", f"{100 * saved / total:.2f}"]
