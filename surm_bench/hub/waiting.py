"""One time limit for every wait for the hub, and one progress line."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from tqdm import tqdm

SECONDS = 30  # time limit without an answer or a byte
SHOWN_BYTES = 10**6  # a smaller download ends before anybody reads a line about it

Result = TypeVar("Result")


class Progress:
    """The progress line of a download, and the time of the last sign of life.

    Attributes:
        bar: a subclass of tqdm for the hub's library; it shows nothing and reports to this object.
    """

    def __init__(self) -> None:
        self.heard = time.monotonic()
        self.bar = type("Bar", (_Bar,), {"progress": self})
        self._line: tqdm | None = None

    def expect(self, what: str, size: int) -> None:
        """Announce a download: with a bar on a terminal, otherwise with a single line."""
        self.hear()
        if size >= SHOWN_BYTES and sys.stderr.isatty():
            self._line = tqdm(desc=what, total=size, unit="B", unit_scale=True, file=sys.stderr)
        elif size >= SHOWN_BYTES:
            print(f"downloading {what} from the Hugging Face hub, {size / 1e6:,.1f} MB", file=sys.stderr, flush=True)

    def hear(self, count: int = 0) -> None:
        """Note a sign of life: an answer, or ``count`` bytes."""
        self.heard = time.monotonic()
        if self._line is not None:
            self._line.update(count)

    def close(self) -> None:
        """End the progress line."""
        if self._line is not None:
            self._line.close()


class _Bar(tqdm):
    """A bar that shows nothing and counts the bytes of one file."""

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
    """Run work that asks the hub in its own thread and return its result; abandon the thread if nothing arrives.

    Raises:
        TimeoutError: no answer and no byte arrived for SECONDS.
        Exception: any exception that the work raises.
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
