"""Signals that ask a process to end. During training they are only noted, so that the state can be saved first."""

import signal
import threading
from types import FrameType

# A command with a deadline sets a timer, which sends SIGALRM.
# Slurm is usually configured to send SIGUSR1 before a job's time ends; submitit configures it to send SIGUSR2
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM")
SIGNAL_NUMBERS = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end, and the state of the training is saved.

    Like KeyboardInterrupt, this class is not an Exception, so ``except Exception`` does not catch it.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"{signal.Signals(signal_number).name} after a training step; its state is saved")
        self.signal_number = signal_number


class StopSignals:
    """A context manager that only notes the first signal in its block. A second signal acts as it would outside.

    A signal that the process ignores (nohup's SIGHUP) stays ignored. Outside the main thread no signal is noted,
    because Python handles signals only in the main thread.

    Attributes:
        received: the number of the first signal, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._earlier: dict[int, object] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNAL_NUMBERS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._earlier[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._restore()
        ending = kind is not None and not issubclass(kind, Exception)
        if self.received is not None and not ending:  # received after the last check: act on it now
            signal.raise_signal(self.received)

    def act(self, number: int) -> None:
        """Act on the signal after the state was saved.

        A handler that another library has set is called: submitit's handler queues the job again and exits. If a
        handler returns, training continues.

        Raises:
            Interrupted: no other handler is set, or the handler fails: submitit does not queue the job again.
        """
        handler = signal.getsignal(number) if number == self.received else None  # else another process received it
        if not callable(handler) or handler is signal.default_int_handler:
            raise Interrupted(number)
        try:
            handler(number, None)
        except Exception as error:
            raise Interrupted(number) from error
        self.received = None
        self.__enter__()

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        self._earlier = {}
