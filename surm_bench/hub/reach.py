"""Whether the hub is in reach: found within seconds, and not again and again."""

import threading
import time
from contextlib import suppress

from huggingface_hub import constants, get_session

PROBE_SECONDS = 3
SILENT_SECONDS = 300  # so long a hub that did not answer is not asked again: a sweep waits once, not in every run

_asked = {"answered": False, "lost": float("-inf")}


def is_reachable() -> bool:
    """Whether the hub answers, and has left no request of this process without an answer lately."""
    if constants.HF_HUB_OFFLINE or time.monotonic() - _asked["lost"] < SILENT_SECONDS:
        return False
    _asked["answered"] = _asked["answered"] or _answers()
    if not _asked["answered"]:
        lose()
    return _asked["answered"]


def lose() -> None:
    """Ask the hub no more for a while."""
    _asked.update(answered=False, lost=time.monotonic())


def forget() -> None:
    """Find out anew whether the hub is in reach."""
    _asked.update(answered=False, lost=float("-inf"))


def _answers() -> bool:
    """One short request through the session that the hub's libraries use, with its proxies and certificates.

    In a thread: the search for an address has no timeout, and may take a minute.
    """
    answers: list[object] = []

    def ask() -> None:
        with suppress(Exception):  # huggingface_hub has changed its HTTP library twice: no common error class
            answers.append(get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return bool(answers)
