"""One time limit for all that waits for the hub, and one line of progress."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from tqdm import tqdm

SECONDS = 30  # without an answer or a byte
SHOWN_BYTES = 10**6  # a smaller download is over before a line about it is read

Result = TypeVar("Result")


class Progress:
    """The line that shows how much has arrived, and when the last sign of life came.

    Attributes:
        bar: a class of tqdm's for the hub's library, which shows nothing and reports here.
    """

    def __init__(self) -> None:
        self.heard = time.monotonic()
        self.bar = type("Bar", (_Bar,), {"progress": self})
        self._line: tqdm | None = None

    def expect(self, what: str, size: int) -> None:
        """Show what is downloaded: a bar on a terminal, elsewhere a single line."""
        self.hear()
        if size >= SHOWN_BYTES and sys.stderr.isatty():
            self._line = tqdm(desc=what, total=size, unit="B", unit_scale=True, file=sys.stderr)
        elif size >= SHOWN_BYTES:
            print(f"downloading {what} from the Hugging Face hub, {size / 1e6:,.1f} MB", file=sys.stderr, flush=True)

    def hear(self, count: int = 0) -> None:
        """Note a sign of life: an answer, or so many bytes."""
        self.heard = time.monotonic()
        if self._line is not None:
            self._line.update(count)

    def close(self) -> None:
        """End the line."""
        if self._line is not None:
            self._line.close()


class _Bar(tqdm):
    """Counts the bytes of one file."""

    progress: Progress

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"disable": True})

    def update(self, n: float | None = 1) -> None:
        if n and n > 0:
            self.progress.hear(int(n))

    def update_transfer(self, n: float | None = 1) -> None:
        self.progress.hear()

    def set_transfer_postfix_str(self, *_: object, **__: object) -> None:
        """Show no rate."""


def waited(work: Callable[[Progress], Result]) -> Result:
    """The result of work that asks the hub, in a thread of its own, which is left behind when nothing arrives.

    Raises:
        TimeoutError: neither an answer nor a byte came for SECONDS.
        Exception: what the work raises.
    """
    progress = Progress()
    outcome: list[tuple[Any, BaseException | None]] = []

    def do() -> None:
        try:
            outcome.append((work(progress), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    try:
        while not outcome and time.monotonic() - progress.heard < SECONDS:
            thread.join(0.1)
    finally:
        progress.close()
    if not outcome:
        raise TimeoutError(f"nothing for {SECONDS} seconds")
    result, error = outcome[0]
    if error is not None:
        raise error
    return result
