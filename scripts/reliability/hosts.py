"""Run on two hosts that share a disk and whose processes have the same number; Linux namespaces imitate the hosts.

The first process is suspended for longer than a lock is valid, the second one takes its run over and finishes it, and
then the first one is resumed. This is done with two host names and with one: containers may have the name of their
host.
"""

import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from reliability.processes import DIGITS, QUIET, begin, end, last_line, table, wait_for
from surm_bench import records

LONG = ["trainer.max_steps=500", "trainer.epochs=1000", "trainer.eval_steps=500", "trainer.save_seconds=0.1", *QUIET]
SPACES = ["unshare", "--map-root-user", "--uts", "--pid", "--mount-proc", "--fork", "--kill-child", "sh", "-c"]
HEAD = [
    "names",
    "numbers of the processes",
    "while the first one runs",
    "after its silence",
    "the first one is resumed",
    "result",
]


def report() -> bool:
    """Print what each host did; return whether only the second one's result was written."""
    if subprocess.run([*SPACES, "hostname probe"], capture_output=True).returncode:
        print("not tried: this system does not permit namespaces (unshare)")
        return False
    rows = table(HEAD, (_case("one", second) for second in ("other", "one")))
    return all(row[-1] == "the second one's" for row in rows)


def _case(first: str, second: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        run = [*DIGITS, "adapter=circulant", *LONG, f"results_dir={folder}"]
        suspended = _begin(first, run)
        wait_for(lambda: list(Path(folder).glob("runs/*/state/state.safetensors")))
        (lock,) = Path(folder).glob("runs/*/lock.json")
        holders = [json.loads(lock.read_text())]
        refused = _said(end(_begin(second, run)), "has been training run", "refused")
        _signal(suspended, signal.SIGSTOP)
        os.utime(lock, (time.time() - 1000,) * 2)
        other = _begin(second, run)
        wait_for(lambda: lock.exists() and json.loads(lock.read_text()) != holders[0])
        holders.append(json.loads(lock.read_text()))
        took = _said(end(other), "Circulant on digits", "takes the run over, ends it")
        before = records.Archive(folder).records()
        _signal(suspended, signal.SIGCONT)
        stopped = _said(end(suspended), "took over run", "stops")
        after = records.Archive(folder)
        alone = len(before) == 1 and after.records() == before and not after.problems
        for record in before:
            records.check_files(record, records.run_folder(folder, record.run_id))
    numbers = " and ".join(str(holder["pid"]) for holder in holders)
    return [f"{first} and {second}", numbers, refused, took, stopped, "the second one's" if alone else "LOST"]


def _begin(host: str, arguments: list[str]) -> subprocess.Popen:
    return begin(*arguments, before=(*SPACES, f'hostname {host} && exec "$@"', "sh"))


def _signal(process: subprocess.Popen, number: int) -> None:
    """Send a signal to the process in the namespace, which is the child of unshare."""
    for child in psutil.Process(process.pid).children():
        child.send_signal(number)


def _said(ended: tuple[int, str, bool], words: str, short: str) -> str:
    """Return short and the exit code if the output has these words and no traceback, else its last line."""
    code, output, _ = ended
    return f"{short} (exit {code})" if words in output and "Traceback" not in output else last_line(output)
