"""The time at which a command ends its runs. A run that is ended then has saved its state and can be continued."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

TIME_UP = "time is up: give the same command again to continue"


class TimeUp(KeyboardInterrupt):
    """The time is up. As with Ctrl-C, the run that is ended has not failed: this class is not an Exception."""


@contextmanager
def deadline(until: float | None) -> Iterator[None]:
    """End the block at a time, in seconds since the epoch; None: never. A training ends after its step, when it has
    saved its state (see surm_bench.training.stop).

    Raises:
        TimeUp: the time has come, perhaps before the block.
    """
    if until is None:
        yield
        return
    if until <= time.time():
        raise TimeUp("time is up")
    earlier = signal.signal(signal.SIGALRM, _time_up)
    signal.setitimer(signal.ITIMER_REAL, max(until - time.time(), 1e-6))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)


def _time_up(*_: object) -> None:
    raise TimeUp("time is up")  # the text is kept in the record of the run
