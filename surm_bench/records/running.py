"""List the runs in training, with their processes and their progress. No torch here."""

from pathlib import Path
from typing import NamedTuple

from surm_bench.records.lock import LOCK_FILE, holder
from surm_bench.records.run_log import last_line


class Running(NamedTuple):
    """A run whose lock is held by a living process.

    Attributes:
        how_far: the last line of the run's log.
    """

    run_id: str
    pid: int
    host: str
    since: str
    how_far: str


def running(folder: Path) -> list[Running]:
    """Return the runs in a folder that are being trained, ordered by id."""
    runs = []
    for path in sorted(folder.glob(f"runs/*/{LOCK_FILE}")):
        if held := holder(path.parent):
            where = (held["pid"], held["host"], held["since"])
            runs.append(Running(path.parent.name, *where, last_line(path.parent) or "begins"))
    return runs
