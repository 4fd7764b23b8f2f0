"""Find out within seconds whether the hub is in reach, and remember the answer."""

import threading
import time
from contextlib import suppress

from huggingface_hub import constants, get_session

PROBE_SECONDS = 3
SILENT_SECONDS = 300  # time until a silent hub is asked again: a sweep waits once, not in every run

_asked = {"answered": False, "lost": float("-inf")}


def is_reachable() -> bool:
    """Return whether the hub answers, and has recently answered all requests of this process."""
    if constants.HF_HUB_OFFLINE or time.monotonic() - _asked["lost"] < SILENT_SECONDS:
        return False
    _asked["answered"] = _asked["answered"] or _answers()
    if not _asked["answered"]:
        lose()
    return _asked["answered"]


def lose() -> None:
    """Treat the hub as out of reach for SILENT_SECONDS."""
    _asked.update(answered=False, lost=time.monotonic())


def forget() -> None:
    """Forget the answer, so that the next call asks the hub again."""
    _asked.update(answered=False, lost=float("-inf"))


def _answers() -> bool:
    """Return whether the hub answers one short request.

    The request uses the session of the hub's libraries, with its proxies and certificates. It runs in a thread, because
    the look-up of an address has no timeout and may take a minute.
    """
    answers: list[object] = []

    def ask() -> None:
        with suppress(Exception):  # huggingface_hub changed its HTTP library twice: no common error class
            answers.append(get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return bool(answers)
