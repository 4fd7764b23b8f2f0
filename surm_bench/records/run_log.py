"""The log of a run, beside its record: progress, warnings and the outcome. No torch here."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOG_FILE = "run.log"
LINES = logging.getLogger("surm_bench.run_log")  # its lines go only to the run's log
LINES.setLevel(logging.INFO)
LINES.propagate = False


class _Quiet(logging.FileHandler):
    """A log handler that ignores errors of writing: a run does not need its log."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        pass


@contextmanager
def run_log(folder: Path) -> Iterator[None]:
    """Append messages of LINES and warnings of surm_bench to the log of this run while the block runs."""
    handler = _Quiet(folder / LOG_FILE, encoding="utf-8", delay=True)
    handler.setFormatter(formatter := logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S UTC"))
    formatter.converter = time.gmtime
    loggers = (LINES, logging.getLogger("surm_bench"))
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()


def last_line(folder: Path) -> str | None:
    """Return the last line of a run's log without its time; None if there is no log."""
    try:
        lines = (folder / LOG_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return lines[-1].partition(" UTC ")[2] if lines else None
