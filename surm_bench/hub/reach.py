"""Find out within seconds whether the hub is in reach, and remember the answer."""

import threading
import time
from dataclasses import dataclass

from huggingface_hub import constants, get_session

PROBE_SECONDS = 10  # time limit for the first answer
SILENT_SECONDS = 300  # time until a silent hub is asked again: a sweep waits once, not in every run


@dataclass
class _Asked:
    """Whether the hub has answered; otherwise when (time.monotonic) and why it was last out of reach."""

    answered: bool = False
    lost: float = float("-inf")
    reason: str = "HF_HUB_OFFLINE is set"


_asked = _Asked()


def is_reachable() -> bool:
    """Return whether the hub answers, and has recently answered all requests of this process."""
    if constants.HF_HUB_OFFLINE or time.monotonic() - _asked.lost < SILENT_SECONDS:
        return False
    if not _asked.answered:
        trouble = _trouble()
        if trouble is None:
            _asked.answered = True
        else:
            lose(trouble)
    return _asked.answered


def lose(reason: str) -> None:
    """Treat the hub as out of reach for SILENT_SECONDS."""
    _asked.answered, _asked.lost, _asked.reason = False, time.monotonic(), reason


def why_lost() -> str:
    """Return why the hub is out of reach, in a few words."""
    return _asked.reason


def forget() -> None:
    """Forget the answer, so that the next call asks the hub again."""
    vars(_asked).update(vars(_Asked()))


def _trouble() -> str | None:
    """Return why the hub does not answer one short request; None if it answers.

    The request uses the session of the hub's libraries, with its proxies and certificates. It runs in a thread, because
    the look-up of an address has no timeout and may take a minute.
    """
    outcome: list[str | None] = []

    def ask() -> None:
        try:
            get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS)
            outcome.append(None)
        except Exception as error:  # huggingface_hub changed its HTTP library twice: no common error class
            outcome.append(f"{type(error).__name__}: {error}".splitlines()[0])

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return outcome[0] if outcome else f"no answer within {PROBE_SECONDS} seconds"
