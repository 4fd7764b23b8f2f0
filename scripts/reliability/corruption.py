"""Flip a bit of each class of bytes (digits, letters, each sign, white space, others; the first and the last eight) of
every file that is read, so many of each class."""

import sys
import tempfile
from pathlib import Path

from reliability.processes import ROOT, table

OUTCOMES = ("one line", "the same", "another result", "no line", "traceback")


def report(number: int) -> bool:
    """Print what came of the flips; whether each was one line that names the file, or changed nothing that is read."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.damage import cases, outcomes

    with tempfile.TemporaryDirectory() as folder:
        rows = table(
            ["file", "flips", *OUTCOMES],
            (_row(name, outcomes(case, number)) for name, case in cases(Path(folder)).items()),
        )
    return not any(sum(row[4:]) for row in rows)


def _row(name: str, found: dict[str, list[str]]) -> list:
    counts = [len(found.get(outcome, [])) for outcome in OUTCOMES]
    return [name, sum(counts), *counts]
