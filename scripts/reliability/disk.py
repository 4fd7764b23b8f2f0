"""Run on a small disk (tmpfs in a Linux namespace) that is too small, fills up, or is lost during the runs.

A sweep of six runs must stop at once with one line, keep what was recorded, and continue with the same command once
there is room.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from reliability.processes import ENVIRONMENT, end, last_line, table, wait_for
from surm_bench import records
from surm_bench.records import Record

RUNS = 6
EXPERIMENT = """
tasks: {digits: [model=vit_digits, task=digits]}
adapters: {circulant: [adapter=circulant], lora: [adapter=lora]}
seeds: [0, 1, 2]
overrides: [trainer.max_steps=200, trainer.epochs=1000, trainer.eval_steps=200, trainer.save_seconds=0.1]
tuning: {seeds: [], knobs: {default: {}}}
"""
LAUNCHERS = {"one process": [], "joblib, two": ["--launcher", "joblib", "--launcher-option", "n_jobs=2"]}
INSIDE = "SURM_BENCH_INSIDE"  # environment variable that is set inside the namespace
NAMESPACE = ["unshare", "--map-root-user", "--mount"]


def report() -> bool:
    """Print the outcome of each event; return whether every sweep stopped with one line and could be continued."""
    if INSIDE not in os.environ:
        if subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode:
            print("not tried: this system does not permit namespaces (unshare)")
            return False
        inside = [*NAMESPACE, sys.executable, *sys.argv]
        return subprocess.run(inside, env=os.environ | {INSIDE: "1"}).returncode == 0
    rows = table(
        ["event", "launcher", "results before", "stopped after, s", "lines", "results after", "then", "last line"],
        (
            [event.__doc__, launcher, *_case(event, options)]
            for event in (_too_small, _full, _lost)
            for launcher, options in LAUNCHERS.items()
        ),
    )
    return all(row[6] == f"{RUNS} of {RUNS}" and row[2] == row[5].partition(" ")[0] and row[4] == "1" for row in rows)


def _case(event, options: list[str]) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        configs, disk, results = (Path(folder) / name for name in ("configs", "disk", "results"))
        for path in (configs / "experiment", disk, results):
            path.mkdir(parents=True)
        (configs / "experiment" / "tiny.yaml").write_text(EXPERIMENT)
        _do("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk))
        _do("mount", "--bind", str(disk), str(results))
        sweep = ["experiment", "tiny", "--config-dir", str(configs), "--results", str(results), *options]
        try:
            began, code, output, before = event(sweep, disk, results)
            stopped = f"{time.monotonic() - began:.1f}"
            after = _whole(disk)
            code_then, output_then, _ = end(_begin(sweep))
            then = f"{len(_whole(disk))} of {RUNS}" if code_then == 0 else last_line(output_then)
        finally:
            for path in (results, disk):
                subprocess.run(["umount", "--lazy", str(path)], check=False)
    lines = [line for line in output.splitlines() if line.startswith("surm-bench: ")]
    shown = lines[-1].replace(str(results), "RESULTS") if lines else last_line(output)
    count = str(len(lines)) if code == 2 and "Traceback" not in output else f"exit {code}"
    return [str(len(before)), stopped, count, f"{len(after)} whole", then, shown]


def _too_small(sweep: list[str], disk: Path, results: Path):
    """too small"""
    _do("mount", "-o", "remount,size=2m", str(disk))
    began = time.monotonic()
    code, output, _ = end(_begin(sweep))
    _do("mount", "-o", "remount,size=64m", str(disk))
    return began, code, output, []


def _full(sweep: list[str], disk: Path, results: Path):
    """full in the middle"""
    process = _begin(sweep)
    wait_for(lambda: len(_results(disk)) >= 2 and list(disk.glob("tiny/runs/*/state")), 600)
    before, began = _results(disk), time.monotonic()
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    code, output, _ = end(process)
    (disk / "filler").unlink()
    return began, code, output, before


def _lost(sweep: list[str], disk: Path, results: Path):
    """lost in the middle"""
    process = _begin(sweep)
    wait_for(lambda: len(_results(disk)) >= 2 and list(disk.glob("tiny/runs/*/state")), 600)
    before, began = _results(disk), time.monotonic()
    _do("umount", "--lazy", str(results))
    code, output, _ = end(process)
    if any(results.iterdir()):
        output += "\nsurm-bench: something was written where the disk had been"
    _do("mount", "--bind", str(disk), str(results))
    return began, code, output, before


def _begin(arguments: list[str]) -> subprocess.Popen:
    command = [sys.executable, "-c", "from surm_bench.command.main import main; main()", *arguments]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _results(disk: Path) -> list[Record]:
    return records.Archive(disk / "tiny").results()


def _whole(disk: Path) -> list[Record]:
    """Return the results whose files are all present and unchanged."""
    found = _results(disk)
    return [r for r in found if records.describe_files(records.run_folder(disk / "tiny", r.run_id)) == r.files]


def _do(*command: str) -> None:
    subprocess.run(command, check=True)
