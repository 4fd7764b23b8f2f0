"""A sequence of byte strings as one digest."""

import hashlib
from collections.abc import Iterable


def fields_digest(fields: Iterable[bytes | memoryview]) -> str:
    """Twelve hex digits of SHA-256 over the fields, each after its length in bytes (64 bits, little-endian).

    The lengths keep ("ab", "c") and ("a", "bc") apart.
    """
    digest = hashlib.sha256()
    for field in fields:
        digest.update(memoryview(field).nbytes.to_bytes(8, "little"))
        digest.update(field)
    return digest.hexdigest()[:12]
