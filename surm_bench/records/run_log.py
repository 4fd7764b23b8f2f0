"""The log of a run, beside its record: how far it is, what was warned of, and how it ended. No torch here."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE = "run.log"
LINES = logging.getLogger("surm_bench.run_log")  # its lines go into the log alone
LINES.setLevel(logging.INFO)
LINES.propagate = False


class _Quiet(logging.FileHandler):
    """A log that cannot be written stops nothing: the record is what counts."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        pass


@contextmanager
def run_log(folder: Path) -> Iterator[None]:
    """Append to the log of this run while the block runs: LINES, and the warnings of surm_bench."""
    handler = _Quiet(folder / FILE, encoding="utf-8", delay=True)
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
    """What the log of a run says last, without the time; None where there is none."""
    try:
        lines = (folder / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return lines[-1].partition(" UTC ")[2] if lines else None
