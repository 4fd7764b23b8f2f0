"""Kill runs at random moments.

Each case is run once undisturbed; then it is started again and again in another folder, killed (SIGKILL) after a random
time, until it ends by itself, and then anew until there were enough kills. Scores, history and the adapter's file must
be equal to the bit.
"""

import random
import tempfile
import time
from pathlib import Path

from reliability.processes import DIGITS, QUIET, begin, end, outcome, table
from surm_bench import records

CASES = {
    "circulant, digits": [*DIGITS, "adapter=circulant"],
    "adalora, sentiment": ["model=roberta_tiny", "task=grammar/sentiment", "adapter=adalora"],
    "lora with dropout, acceptability": [
        *("model=roberta_tiny", "task=grammar/acceptability", "adapter=lora", "adapter.peft.lora_dropout=0.1")
    ],
    "linear probe, cached, digits": [*DIGITS, "adapter=linear_probe", "trainer.cache_prefix=true"],
}
LENGTH = ["trainer.max_steps=300", "trainer.epochs=1000", "trainer.eval_steps=90", "trainer.save_seconds=0.5", *QUIET]


def report(number: int) -> bool:
    """Print what came of so many kills in all; whether nothing was lost or different."""
    rng = random.Random(0)
    rows = table(
        ["case", "kills", "runs", "lost", "different", "undisturbed, s", "of it start, s", "trained again, s"],
        (
            [name, *_case([*overrides, *LENGTH], len(range(index, number, len(CASES))), rng)]
            for index, (name, overrides) in enumerate(CASES.items())
        ),
    )
    return not any(row[3] or row[4] for row in rows)


def _case(overrides: list[str], kills: int, rng: random.Random) -> list[object]:
    with tempfile.TemporaryDirectory() as undisturbed:
        seconds, _ = _run(overrides, undisturbed)
        wanted = outcome(Path(undisturbed))
        (record,) = records.Archive(undisturbed).records()
    trained = record["timing"]["train_seconds"]
    start = seconds - trained
    done = runs = lost = different = 0
    again = 0.0
    while done < kills:
        runs += 1
        with tempfile.TemporaryDirectory() as folder:
            killed, spent = True, 0.0
            while killed:
                took, killed = _run(overrides, folder, rng.uniform(0.3, 1.1) * seconds if done < kills else None)
                done += killed
                spent += max(0.0, took - start)
            again += spent - trained
            found = outcome(Path(folder))
            lost += isinstance(found, str)
            different += not isinstance(found, str) and found != wanted
    return [done, runs, lost, different, f"{seconds:.1f}", f"{start:.1f}", f"{max(0.0, again):.1f}"]


def _run(overrides: list[str], folder: str, kill_after: float | None = None) -> tuple[float, bool]:
    """Seconds that it took, and whether it was killed before it ended by itself."""
    began = time.perf_counter()
    _, _, killed = end(begin(*overrides, f"results_dir={folder}"), kill_after)
    return time.perf_counter() - began, killed
