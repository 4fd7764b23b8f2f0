"""Access to the hub by its libraries: their errors become refusals, and they do not log or retry needlessly."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants

from surm_bench.errors import UserError
from surm_bench.hub.reach import is_reachable, lose
from surm_bench.hub.refusals import is_silent, refusal

CHUNK_BYTES = 2**16  # bytes per read: small, so that a slow connection shows signs of life (surm_bench.hub.waiting)


@contextmanager
def hub_access(what: str) -> Iterator[None]:
    """Read ``what`` from the hub, or from its local cache when the hub is out of reach.

    Raises:
        UserError: reading failed; the message gives the reason in one line.
    """
    try:
        with _constants(offline=not is_reachable()):
            yield
    except UserError:
        raise
    except Exception as error:  # from four libraries, which have no common error class
        if is_silent(error):
            lose("an earlier request got no answer")
        raise refusal(what, error) from error


@contextmanager
def _constants(offline: bool) -> Iterator[None]:
    """Set small chunks and, if offline, the libraries' offline mode, which reads only the cache and does not retry."""
    modules = [constants, *filter(None, [sys.modules.get("datasets.config")])]  # datasets copies the flag at import
    before, chunk = [module.HF_HUB_OFFLINE for module in modules], constants.DOWNLOAD_CHUNK_SIZE
    try:
        constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES
        for module in modules:
            module.HF_HUB_OFFLINE |= offline
        yield
    finally:
        constants.DOWNLOAD_CHUNK_SIZE = chunk
        for module, flag in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = flag
