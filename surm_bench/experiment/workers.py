"""Call a function in joblib's worker processes, so that Ctrl-C ends every run with its state saved.

joblib itself kills its workers at once. Here the workers leave Ctrl-C to the command, which asks them to end: a
training run then saves its state after its step, and runs that have not begun are left out.
"""

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import psutil
from joblib import Parallel, delayed, effective_n_jobs
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from surm_bench.errors import UserError

LEFT_OUT = "interrupted"
_ending = False  # in a worker: whether the command was interrupted


def in_workers(function: Callable[..., str | None], work: Sequence[tuple], options: dict[str, Any]) -> list[str | None]:
    """Call a function with each tuple of arguments and return its results in order.

    Args:
        options: arguments of joblib.Parallel.

    Raises:
        KeyboardInterrupt: Ctrl-C. All workers have ended their runs; a second Ctrl-C kills them.
        UserError: the system killed a worker.
    """
    parallel = Parallel(**options)
    if effective_n_jobs(options["n_jobs"]) == 1:  # joblib calls the function in this process
        return parallel(delayed(function)(*arguments) for arguments in work)
    try:
        with Interruptible():
            return parallel(delayed(InWorker(function))(*arguments) for arguments in work)
    except TerminatedWorkerError:
        raise UserError(
            "a process was killed, perhaps because memory ran out: give the same command again, with fewer runs at "
            "once (--launcher-option n_jobs=N)"
        ) from None


class Interruptible:
    """A context manager that passes Ctrl-C on to the workers, waits for them, and then raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.interrupted = False

    def __enter__(self) -> None:
        self._earlier = signal.signal(signal.SIGINT, self._pass_on)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._earlier)
        if self.interrupted:
            get_reusable_executor().shutdown()  # a later call needs workers that begin runs
            raise KeyboardInterrupt

    def _pass_on(self, *_: object) -> None:
        self.interrupted = True
        signal.signal(signal.SIGINT, self._earlier)  # a second Ctrl-C acts at once
        for worker in psutil.Process().children():
            worker.terminate()  # joblib's other process, which tracks resources, ignores it


@dataclass(frozen=True)
class InWorker:
    """A function as a job of a worker. Only the command ends it, although a terminal sends Ctrl-C to workers, too."""

    function: Callable[..., str | None]

    def __call__(self, *arguments: Any) -> str | None:
        if _ending:
            return LEFT_OUT
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            return self.function(*arguments)
        except KeyboardInterrupt:
            _end()
            return LEFT_OUT
        finally:
            signal.signal(signal.SIGTERM, _end)  # between two runs


def _end(number: int = signal.SIGTERM, frame: FrameType | None = None) -> None:
    global _ending
    _ending = True
