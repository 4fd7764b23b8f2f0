"""Share the runs of one sweep among eight processes in one folder, and kill three of them."""

import math
import random
import re
import tempfile
import time
from collections import Counter
from pathlib import Path

from reliability.processes import DIGITS, QUIET, begin, end, table, wait_for
from surm_bench import records

WORKERS, KILLED = 8, 3
ADAPTERS = ("circulant", "lora", "kronecker")
SHORT = ["trainer.max_steps=30", "trainer.save_seconds=0.2", "task.max_train_samples=300", *QUIET]
DONE = re.compile(r"run ([0-9a-f]{12})$", re.MULTILINE)  # the line of a run that this process trained to its end


def report(number: int) -> bool:
    """Print the outcome of `number` runs, rounded up to a multiple of three, one run of each adapter for a seed.

    Returns:
        Whether each run is complete and was trained to its end only once.
    """
    seeds = math.ceil(number / len(ADAPTERS))
    number = seeds * len(ADAPTERS)
    rng, began = random.Random(0), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        sweep = ["-m", *DIGITS, f"adapter={','.join(ADAPTERS)}", *SHORT, f"results_dir={folder}"]
        sweep.append(f"seed={','.join(map(str, range(seeds)))}")
        processes = [begin(*sweep) for _ in range(WORKERS)]
        outputs, survivors = [], list(processes)
        for share in sorted(rng.uniform(0.1, 0.7) for _ in range(KILLED)):
            wait_for(lambda share=share: len(_records(folder)) >= share * number, 1200)
            holders = {run.pid for run in records.running(Path(folder))}
            victim = next((p for p in survivors if p.pid in holders), survivors[0])  # one that is training
            survivors.remove(victim)
            outputs.append(end(victim, 0)[1])
        outputs += [end(process)[1] for process in survivors]
        left = number - len(_records(folder))
        outputs.append(end(begin(*sweep))[1])  # the same command once more, for the runs that the killed processes held
        seconds = time.perf_counter() - began
        found, damaged = _records(folder), 0
        for record in found:
            run = records.run_folder(folder, record.run_id)
            whole = records.describe_files(run) == record.files and len(record.files) == 3
            damaged += not whole
        resumed = sum(len(record.segments) > 1 for record in found)
    ends = Counter(run_id for output in outputs for run_id in DONE.findall(output))
    twice = sum(count > 1 for count in ends.values())
    tracebacks = sum("Traceback" in output for output in outputs)
    head = ["runs", "processes", "killed", "successes", "trained twice", "damaged", "continued", "left for the last"]
    table([*head, "tracebacks", "s"], [[
        number, WORKERS, KILLED, len(found), twice, damaged, resumed, left, tracebacks, f"{seconds:.0f}"
    ]])  # fmt: skip
    return len(found) == number and not (twice or damaged or tracebacks)


def _records(folder: str) -> list[records.Record]:
    return [record for record in records.Archive(folder).records() if record.status == "success"]
