"""Signals that ask a process to end: noted while it trains, so that it can save its state first."""

import signal
import threading
from types import FrameType

# SIGUSR1 is what Slurm is usually set to send ahead of the end; submitit has it send SIGUSR2
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
NUMBERS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end, and the state of the training is saved.

    Like KeyboardInterrupt it is no Exception: what handles errors does not take it for one.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"{signal.Signals(signal_number).name} after a training step; its state is saved")
        self.signal_number = signal_number


class StopSignals:
    """In its block the first signal is only noted; the second one acts as it would outside.

    A signal that the process ignores (nohup's SIGHUP) stays ignored. In other threads than the main one nothing is
    noted: Python lets the main thread alone handle signals.

    Attributes:
        received: the number of the first signal, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._earlier: dict[int, object] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number in NUMBERS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._earlier[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._restore()
        ending = kind is not None and not issubclass(kind, Exception)
        if self.received is not None and not ending:  # it came after the last look: now it acts
            signal.raise_signal(self.received)

    def act(self, number: int) -> None:
        """Do what the signal asks for, the state being saved.

        A handler that somebody else has set decides: submitit's queues the job again and exits, and where a handler
        returns, training goes on.

        Raises:
            Interrupted: nobody else has set one.
        """
        handler = signal.getsignal(number) if number == self.received else None  # else another process received it
        if not callable(handler) or handler is signal.default_int_handler:
            raise Interrupted(number)
        handler(number, None)
        self.received = None
        self.__enter__()

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        self._earlier = {}
