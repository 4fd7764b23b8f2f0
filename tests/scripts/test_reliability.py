"""The scripts that measure the cost of saving, on runs of seconds, and share runs, on processes that do nothing."""

import re
from types import SimpleNamespace

import pytest
from reliability import cost, workers
from support.runs import DIGITS

from surm_bench.training.loop import Training


def test_the_cost_of_saving_is_measured_in_a_run(monkeypatch):
    monkeypatch.setattr(cost, "RUN", [*DIGITS, *cost.QUIET, "task.max_train_samples=64", "trainer.save_seconds=0"])
    _, states, total, saved, part = cost._case("circulant", 4)
    assert states >= 1 and 0 <= float(saved) <= float(total) and 0 <= float(part) < 100


def test_saving_that_takes_all_of_the_time_is_a_part_below_all(monkeypatch):
    """Two steps of 1 s are in the record, and each of the two pauses after them takes 3 s: 6 of 8 s."""
    moments = iter([0.0, 3.0, 10.0, 13.0])
    record = SimpleNamespace(timing=SimpleNamespace(train_seconds=2.0))
    monkeypatch.setattr(cost, "time", SimpleNamespace(perf_counter=lambda: next(moments)))
    monkeypatch.setattr(cost.records, "Archive", lambda folder: SimpleNamespace(records=lambda: [record]))
    monkeypatch.setattr(Training, "save_if_due", lambda self, checkpoint, signals, synchronized: None)

    def two_steps(arguments):
        for _ in range(2):
            Training.save_if_due(None, None, None, synchronized=True)

    monkeypatch.setattr(cost, "command", two_steps)
    assert cost._case("circulant", 2)[2:] == ["8.0", "6.00", "75.00"]


@pytest.mark.parametrize("number, runs", [(1, 3), (6, 6), (61, 63)])
def test_any_number_of_runs_is_shared_without_a_loss(number, runs, monkeypatch, capsys):
    commands = []

    def made(folder):
        seeds, adapters = (re.search(rf"{name}=([^ ]+)", commands[0])[1].split(",") for name in ("seed", "adapter"))
        done = SimpleNamespace(run_id="0", files={"a": "", "b": "", "c": ""}, segments=[{}])
        return [done] * (len(seeds) * len(adapters))

    def begun(*arguments):
        commands.append(" ".join(arguments))
        return SimpleNamespace(pid=0)

    monkeypatch.setattr(workers, "begin", begun)
    monkeypatch.setattr(workers, "end", lambda process, seconds=None: (0, "", False))
    monkeypatch.setattr(workers, "_records", made)
    monkeypatch.setattr(workers.records, "describe_files", lambda folder: {"a": "", "b": "", "c": ""})
    assert workers.report(number)
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"| {runs} | 8 | 3 | {runs} | 0 | 0 |")
