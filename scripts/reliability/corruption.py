"""Flip bits in every file that is read, in each class of bytes.

The classes are digits, letters, each sign of punctuation, white space, other bytes, and the first and last eight bytes.
"""

import sys
import tempfile
from pathlib import Path

from reliability.processes import ROOT, table

OUTCOMES = ("one line", "the same", "another result", "no line", "traceback")


def report(number: int) -> bool:
    """Print the outcomes of `number` flips in each class of bytes.

    Returns:
        Whether each flip was reported in one line that names the file, or changed nothing that is read.
    """
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
