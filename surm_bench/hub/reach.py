"""Whether the hub is in reach: found within seconds, once a process."""

import threading
from contextlib import suppress
from functools import cache

from huggingface_hub import constants, get_session

PROBE_SECONDS = 3

_lost = threading.Event()  # set once the hub has left a request without an answer


def is_reachable() -> bool:
    """Whether the hub answers, and has answered all requests of this process so far."""
    return not constants.HF_HUB_OFFLINE and not _lost.is_set() and _answers()


def lose() -> None:
    """Ask the hub no more in this process, so that a sweep does not wait for it again and again."""
    _lost.set()


def forget() -> None:
    """Find out anew whether the hub is in reach."""
    _lost.clear()
    _answers.cache_clear()


@cache
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
