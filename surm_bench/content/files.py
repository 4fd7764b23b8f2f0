"""The digest of a file's bytes."""

import hashlib
from pathlib import Path

from surm_bench.content.cache import FileCache


def file_digest(path: str | Path, cache: FileCache | None = None) -> str:
    """Return twelve hex digits of the SHA-256 of a file.

    Raises:
        OSError: the file cannot be read.
    """
    path = Path(path)
    return _sha256(path) if cache is None else cache.get([path], "sha256", lambda: _sha256(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
