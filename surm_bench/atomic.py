"""Files that are written whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def token() -> str:
    """A part of a temporary name that no other writer has: numbers of processes are equal on two hosts of one disk."""
    return secrets.token_hex(6)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of path; it takes path's place only when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{token()}{path.suffix}")  # matplotlib takes the format from the suffix
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """The same of a folder, which takes the place of none or of an empty one; OSError where there is another."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{token()}")
    temporary.mkdir()
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
