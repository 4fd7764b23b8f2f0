"""The Hugging Face hub: whether it is in reach is settled in seconds, and told in one line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from huggingface_hub import constants, get_session

from surm_bench.errors import UserError

PROBE_SECONDS = 5


@contextmanager
def hub_access(what: str) -> Iterator[None]:
    """Read ``what`` from the hub, or from its local cache when the hub is out of reach.

    Without a probe every missing file costs the hub's libraries five retries, about 25 seconds.

    Raises:
        UserError: the hub is out of reach and the cache does not hold ``what``, or the hub does not have it.
    """
    reachable = _reachable()
    try:
        with _offline(not reachable):
            yield
    except OSError as error:  # the hub's own, transformers' and datasets' errors all are OSErrors
        if reachable:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(f"{what} cannot be read from the Hugging Face hub: {reason}") from error
        raise UserError(
            f"the Hugging Face hub is out of reach and {what} is not in its local cache: name local data with "
            "DATA=folder (task.data_dir) and local weights with WEIGHTS=path (model.weights), or run `make demo`, "
            "which needs no network"
        ) from error


@cache
def _reachable() -> bool:
    """One short request through the session that the hub's libraries use, with its proxies and certificates."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS)
    except Exception:  # huggingface_hub has changed its HTTP library twice: no common error class
        return False
    return True


@contextmanager
def _offline(offline: bool) -> Iterator[None]:
    """The libraries' own offline mode, in which they look into the cache only and do not retry."""
    modules = [constants, *filter(None, [sys.modules.get("datasets.config")])]  # datasets copies the flag at import
    before = [module.HF_HUB_OFFLINE for module in modules]
    try:
        for module in modules:
            module.HF_HUB_OFFLINE |= offline
        yield
    finally:
        for module, flag in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = flag
