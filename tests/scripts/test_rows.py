"""scripts/rows.py: several processes on the rows of an experiment, stopped by their time and started again."""

import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.runs import wait_for

from surm_bench.records import Archive

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import rows as script  # noqa: E402

CHECKOUT = Path(__file__).parents[2]
EXPERIMENT = """
tasks: {digits: [model=vit_digits, task=digits, task.max_train_samples=200, task.max_eval_samples=60]}
adapters: {linear_probe: [adapter=linear_probe], bitfit: [adapter=bitfit], lora: [adapter=lora]}
seeds: [0, 1]
overrides: [trainer.max_steps=300, trainer.progress=false]
tuning: {seeds: [100], knobs: {default: {optimizer.lr: [1e-3, 1e-2]}, bitfit: {}}}
"""


def command(tree: Path, *more: str) -> list[str]:
    options = ["--results", str(tree / "results"), "--processes", "2", "--config-dir", str(tree), *more]
    return [sys.executable, "scripts/rows.py", str(tree / "rows.txt"), *options]


def rows(tree: Path, *more: str) -> subprocess.CompletedProcess:
    return subprocess.run(command(tree, *more), cwd=CHECKOUT, capture_output=True, text=True)


@pytest.fixture
def tree(tmp_path) -> Path:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(EXPERIMENT)
    return tmp_path


@pytest.mark.slow
def test_rows_are_tuned_and_run_whatever_stops_them(tree):
    (tree / "rows.txt").write_text("mine linear_probe\nmine bitfit digits\n\nmine lora\n")
    first = subprocess.Popen(command(tree), cwd=CHECKOUT)
    logs = (tree / "results" / "mine" / "runs").glob
    wait_for(lambda: any("epoch" in log.read_text() for log in logs("*/run.log")), 120)
    first.terminate()
    assert first.wait(60) not in (0, None)
    assert rows(tree, "--seconds", "0.1").returncode == 1
    done = rows(tree)
    assert done.returncode == 0, done.stderr
    assert sorted(line for line in done.stdout.splitlines() if line.endswith(": done")) == [
        "mine bitfit digits: done",
        "mine linear_probe: done",
        "mine lora: done",
    ]
    found = Archive(tree / "results" / "mine").records()
    assert len(found) == 2 * (2 + 2) + 2 and all(record.status == "success" for record in found)
    assert any(len(record.segments) == 2 and record.segments[1]["from_step"] > 0 for record in found)


def deaf(ready) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.set()
    time.sleep(600)


def test_a_process_that_had_to_be_killed_is_no_success(monkeypatch):
    monkeypatch.setattr(script, "GRACE", 0.2)
    fork = multiprocessing.get_context("fork")
    ready = fork.Event()
    process = fork.Process(target=deaf, args=(ready,))
    process.start()
    assert ready.wait(120)
    script._end([process])
    assert process.exitcode == -signal.SIGKILL


def test_a_file_that_is_not_there_is_one_line(tree):
    refused = rows(tree)
    assert refused.returncode == 2 and "rows.txt is no file" in refused.stderr and refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mine nothing", "unknown row of mine 'nothing': choose from bitfit, linear_probe, lora"),
        ("mine lora cola", "unknown task of mine 'cola': choose from digits"),
        ("yours lora", "unknown experiment 'yours'"),
        ("mine", "'mine' is no line of experiment, row and perhaps task"),
    ],
)
def test_a_line_that_cannot_be_is_refused_before_anything_starts(tree, line, said):
    (tree / "rows.txt").write_text(f"mine lora\n{line}\n")
    refused = rows(tree)
    assert refused.returncode == 2 and said in refused.stderr and refused.stderr.count("\n") == 1
    assert not (tree / "results").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--processes", "0"], "--processes 0 is not possible: at least 1"),
        (["--config-dir", "nowhere"], "--config-dir nowhere is not a folder"),
        (["--places", "yours:task.data_dir=x"], "unknown experiment of --places 'yours': choose from mine"),
    ],
)
def test_options_that_cannot_be_are_refused(tree, more, said):
    (tree / "rows.txt").write_text("mine lora\n")
    refused = rows(tree, *more)
    assert refused.returncode == 2 and said in refused.stderr
