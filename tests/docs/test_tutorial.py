"""The tutorial and the page on records, carried out as they are printed."""

import re
from pathlib import Path

import pytest
from support.recipes import BLOCK, Recipe

from surm_bench.records import Archive

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_tutorial(tmp_path):
    """Every adapter gets as many tuning runs and a row of the table; the interval is printed, the winner exported."""
    printed = Recipe((CHECKOUT / "docs" / "tutorial.md").read_text(), tmp_path).follow()
    tuned = [r.config.adapter.name for r in Archive(tmp_path / "results" / "first").records() if r.is_tuning]
    assert len(tuned) == 18 and {tuned.count(name) for name in set(tuned)} == {6}
    table = (tmp_path / "results" / "first" / "table.md").read_text()
    assert all(re.search(rf"^\| {re.escape(label)} +\|", table, re.MULTILINE)
               for label in ("LoRA r=1", "Circulant", "Circulant + rank 1"))  # fmt: skip
    assert re.search(r"^[+-]\d\.\d \[[+-]\d+\.\d, [+-]\d+\.\d\] points$", printed, re.MULTILINE)
    assert (tmp_path / "report.html").is_file()
    assert len((tmp_path / "answers.csv").read_text().splitlines()) == 1 + 450
    assert (tmp_path / "winner" / "model.safetensors").is_file()


def test_the_page_on_records(monkeypatch, capsys):
    """The best rows that it prints are those of the committed table."""
    ((_, code),) = BLOCK.findall((CHECKOUT / "docs" / "reading_records.md").read_text())
    monkeypatch.chdir(CHECKOUT)
    exec(code, {})
    best = capsys.readouterr().out.splitlines()[-5:]
    assert "BitFit" in best[0] and "Houlsby m=1" in best[1]
