"""scripts/rows.py: several processes on the rows of an experiment, stopped by their time and started again."""

import subprocess
import sys
from pathlib import Path

import pytest

from surm_bench.records import Archive

CHECKOUT = Path(__file__).parents[1]
EXPERIMENT = """
tasks: {digits: [model=vit_digits, task=digits, task.max_train_samples=200, task.max_eval_samples=60]}
adapters: {linear_probe: [adapter=linear_probe], bitfit: [adapter=bitfit], lora: [adapter=lora]}
seeds: [0, 1]
overrides: [trainer.max_steps=60, trainer.progress=false]
tuning: {seeds: [100], knobs: {default: {optimizer.lr: [1e-3, 1e-2]}, bitfit: {}}}
"""


def rows(tree: Path, *more: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "scripts/rows.py", str(tree / "rows.txt"), "--results", str(tree / "results")]
    options = ["--processes", "2", "--config-dir", str(tree), *more]
    return subprocess.run([*command, *options], cwd=CHECKOUT, capture_output=True, text=True)


@pytest.fixture
def tree(tmp_path) -> Path:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(EXPERIMENT)
    return tmp_path


@pytest.mark.slow
def test_rows_are_tuned_and_run_whatever_stops_them(tree):
    (tree / "rows.txt").write_text("mine linear_probe\nmine bitfit digits\n\nmine lora\n")
    assert rows(tree, "--seconds", "8").returncode == 1
    done = rows(tree)
    assert done.returncode == 0, done.stderr
    assert sorted(line for line in done.stdout.splitlines() if line.endswith(": done")) == [
        "mine bitfit digits: done",
        "mine linear_probe: done",
        "mine lora: done",
    ]
    found = Archive(tree / "results" / "mine").records()
    assert len(found) == 2 * (2 + 2) + 2 and all(record["status"] == "success" for record in found)


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
