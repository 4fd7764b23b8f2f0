"""Kill runs at random moments.

Each case is run once undisturbed. Then it is started again and again in another folder and killed (SIGKILL) at a random
moment of its time, or up to a tenth later, until it ends by itself. This is repeated until there were enough kills. The
processes are forked from one that has loaded the libraries, because a kill while Python loads them tests nothing.
Scores, history and the adapter's file must be equal to those of the undisturbed run, bit for bit.
"""

import multiprocessing
import os
import random
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from reliability.processes import DIGITS, ENVIRONMENT, QUIET, outcome, table
from surm_bench import records
from surm_bench.command.main import command

CASES = {
    "circulant, digits": [*DIGITS, "adapter=circulant"],
    "adalora, sentiment": ["model=roberta_tiny", "task=grammar/sentiment", "adapter=adalora"],
    "lora with dropout, acceptability": [
        *("model=roberta_tiny", "task=grammar/acceptability", "adapter=lora", "adapter.peft.lora_dropout=0.1")
    ],
    "linear probe, cached, digits": [*DIGITS, "adapter=linear_probe", "trainer.cache_prefix=true"],
}
PROCESSES = multiprocessing.get_context("forkserver")
LIBRARIES = ["surm_bench.run.runner", "transformers", "timm"]
LENGTH = ["trainer.max_steps=300", "trainer.epochs=1000", "trainer.eval_steps=90", "trainer.save_seconds=0.5", *QUIET]


def report(number: int) -> bool:
    """Print the outcome of `number` kills, shared among the cases; return whether no run was lost or different."""
    os.environ.update(ENVIRONMENT)  # must precede the process that the runs are forked from
    PROCESSES.set_forkserver_preload(LIBRARIES)
    first = PROCESSES.Process(target=int)
    first.start()  # loads the libraries
    first.join()
    rng = random.Random(0)
    rows = table(
        ["case", "kills", "runs", "lost", "different", "undisturbed, s", "of it not training, s", "lost by a kill, s"],
        (
            [name, *_case([*overrides, *LENGTH], len(range(index, number, len(CASES))), rng)]
            for index, (name, overrides) in enumerate(list(CASES.items())[:number])  # no case without a kill
        ),
    )
    return not any(row[3] or row[4] for row in rows)


def _case(overrides: list[str], kills: int, rng: random.Random) -> list[object]:
    with tempfile.TemporaryDirectory() as undisturbed:
        seconds, _ = _run(overrides, undisturbed)
        wanted = outcome(Path(undisturbed))
        (record,) = records.Archive(undisturbed).records()
    other = seconds - record.timing.train_seconds
    done = runs = lost = different = 0
    again = 0.0
    while done < kills:
        runs += 1
        with tempfile.TemporaryDirectory() as folder:
            killed = True
            while killed:
                took, killed = _run(overrides, folder, rng.uniform(0, 1.1) * seconds if done < kills else None)
                if killed:
                    done += 1
                    again += _since_saved(Path(folder), took, took - other)
            found = outcome(Path(folder))
            lost += isinstance(found, str)
            different += not isinstance(found, str) and found != wanted
    return [done, runs, lost, different, f"{seconds:.1f}", f"{other:.1f}", f"{again / done:.2f}"]


def _since_saved(folder: Path, took: float, trained: float) -> float:
    """Return the seconds of training that the kill of a process lost: since its last saved state, or all of them.

    Args:
        folder: the results folder of the process.
        took: the seconds from its start to the kill.
        trained: the seconds of these in which it can have trained.
    """
    if any(folder.glob("runs/*/record.json")):
        return 0.0
    ages = [time.time() - path.stat().st_mtime for path in folder.glob("runs/*/state/state.safetensors")]
    return max(0.0, min([age for age in ages if age < took] or [trained]))


def _run(overrides: list[str], folder: str, kill_after: float | None = None) -> tuple[float, bool]:
    """Make a run in a process; return the seconds that it took, and whether it was killed, after kill_after seconds."""
    process = PROCESSES.Process(target=_command, args=([*overrides, f"results_dir={folder}"],))
    began = time.perf_counter()
    process.start()
    process.join(kill_after)
    killed = process.is_alive()
    process.kill()
    process.join()
    return time.perf_counter() - began, killed


def _command(arguments: list[str]) -> None:
    """Carry out ``surm-bench run`` with these arguments, without output."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        command(["run", *arguments])
