"""Errors of the disk that holds results. A full or missing disk ends a sweep, because no run could be recorded."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from surm_bench.errors import UserError

FULL = {errno.ENOSPC, errno.EDQUOT}
GONE = {errno.EIO, errno.ENODEV, errno.ENXIO, errno.EROFS, errno.ESTALE}
CODE = re.compile(r"\(os error (\d+)\)")  # the error number in a message of safetensors, which raises no OSError


class StorageError(UserError):
    """The disk of the results is full, too small or no longer there."""


@contextmanager
def storage_errors(folder: str | Path) -> Iterator[None]:
    """Turn errors in the block into a StorageError if a disk is full or missing, or if this folder is missing."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        code, reason = _code(error), str(error).partition("\n")[0]
        if code in FULL:
            raise StorageError(
                f"the disk of {folder} is full ({reason}): free space, then give the same command again to continue"
            ) from error
        if code in GONE or (code == errno.ENOENT and not os.path.isdir(folder)):
            raise _gone(folder, reason) from error
        raise


def check_there(folder: str | Path) -> None:
    """Raise StorageError if a folder no longer exists."""
    if not os.path.isdir(folder):
        raise _gone(folder, "no such folder")


def check_space(folder: str | Path, needed: int, what: str) -> None:
    """Raise StorageError if fewer bytes than needed are free.

    Args:
        what: the thing that needs the space, for the message.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError(
            f"{what} needs {_megabytes(needed)} in {folder}, but only {_megabytes(free)} are free: free space, "
            "then give the same command again to continue"
        )


def _gone(folder: str | Path, reason: str) -> StorageError:
    return StorageError(
        f"{folder} no longer exists ({reason}): restore it, then give the same command again to continue"
    )


def _code(error: Exception) -> int | None:
    """Return the system's number (errno) of an error."""
    if isinstance(error, OSError):
        return error.errno
    match = CODE.search(str(error))
    return int(match[1]) if match else None


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
