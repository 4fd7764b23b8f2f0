"""Hashes made by hand."""

import hashlib
import struct


def by_hand(*fields: bytes) -> str:
    return hashlib.sha256(b"".join(struct.pack("<Q", len(field)) + field for field in fields)).hexdigest()[:12]
