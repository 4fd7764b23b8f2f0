"""The digest of a sequence of byte strings."""

import hashlib
from collections.abc import Iterable


def fields_digest(fields: Iterable[bytes | memoryview]) -> str:
    """Return twelve hex digits of SHA-256 over the fields, each after its length in bytes (64 bits, little-endian).

    With the lengths, ("ab", "c") and ("a", "bc") have different digests.
    """
    digest = hashlib.sha256()
    for field in fields:
        digest.update(memoryview(field).nbytes.to_bytes(8, "little"))
        digest.update(field)
    return digest.hexdigest()[:12]
