"""The script that kills runs, with runs that only take the time they say."""

from types import SimpleNamespace
from unittest.mock import MagicMock

from reliability import kills


def test_with_fewer_kills_than_cases_the_other_cases_are_left_out(monkeypatch, capsys):
    record = SimpleNamespace(timing=SimpleNamespace(train_seconds=1.5))
    monkeypatch.setattr(kills, "ENVIRONMENT", {})
    monkeypatch.setattr(kills, "PROCESSES", MagicMock())
    monkeypatch.setattr(kills, "_run", lambda overrides, folder, kill_after=None: (2.0, kill_after is not None))
    monkeypatch.setattr(kills, "outcome", lambda folder: ("success",))
    monkeypatch.setattr(kills.records, "Archive", lambda folder: SimpleNamespace(records=lambda: [record]))
    assert kills.report(3)
    rows = capsys.readouterr().out.splitlines()[2:]
    assert rows == [f"| {name} | 1 | 1 | 0 | 0 | 2.0 | 0.5 | 1.50 |" for name in list(kills.CASES)[:3]]
