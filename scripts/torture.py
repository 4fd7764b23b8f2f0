"""Kill runs at random moments and see that nothing is lost: python scripts/torture.py 30

Each case is run once undisturbed; then it is started again and again in another folder, killed (SIGKILL) after a random
time, until it ends by itself. Scores and the adapter's file must be equal to the bit. Both times are printed: the
difference is what starting again and training lost steps again cost.
"""

import checkout  # noqa: F401  (before the package)

# isort: split
import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from surm_bench.records import Archive

CASES = {
    "circulant, digits": ["model=vit_digits", "task=digits", "adapter=circulant"],
    "adalora, sentiment": ["model=roberta_tiny", "task=grammar/sentiment", "adapter=adalora"],
    "lora with dropout, acceptability": [
        *("model=roberta_tiny", "task=grammar/acceptability", "adapter=lora", "adapter.peft.lora_dropout=0.1")
    ],
    "linear probe, cached, digits": [
        *("model=vit_digits", "task=digits", "adapter=linear_probe", "trainer.cache_prefix=true")
    ],
}
LENGTH = ["trainer.max_steps=300", "trainer.epochs=1000", "trainer.eval_steps=90", "trainer.progress=false"]
SAVE = "trainer.save_seconds=0.5"
ADAPTER = "adapter/adapter_model.safetensors"


def main() -> None:
    """Exit code 1 when a run came to another result, or to none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kills", type=int, help="how many in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    rng, different = random.Random(arguments.seed), 0
    for number, (name, overrides) in enumerate(CASES.items()):
        kills = len(range(number, arguments.kills, len(CASES)))
        with tempfile.TemporaryDirectory() as undisturbed, tempfile.TemporaryDirectory() as disturbed:
            seconds = _run(overrides, undisturbed)
            moments = [rng.uniform(0.3, 1.1) * seconds for _ in range(kills)]
            spent = sum(_run(overrides, disturbed, moment) for moment in [*moments, None])
            equal = _outcome(disturbed) == _outcome(undisturbed)
        different += not equal
        outcome = "equal bits" if equal else "ANOTHER RESULT"
        print(f"{name}: {kills} kills, {outcome}; {spent:.0f} s in all, {seconds:.0f} s undisturbed", flush=True)
    sys.exit(1 if different else 0)


def _run(overrides: list[str], folder: str, kill_after: float | None = None) -> float:
    """Start a run, kill it after so many seconds unless it has ended; returns the seconds that it took."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "surm_bench", *overrides, *LENGTH, SAVE, f"results_dir={folder}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(kill_after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return time.perf_counter() - began


def _outcome(folder: str) -> tuple | str:
    """What must be equal of the one run below a folder; what is wrong, where there is no such run."""
    archive = Archive(Path(folder))
    if archive.problems or len(archive.records()) != 1:
        return f"{len(archive.records())} records; {archive.problems}"
    record = archive.records()[0]
    return record["status"], record.get("scores"), record.get("history"), record["files"].get(ADAPTER)


if __name__ == "__main__":
    main()
