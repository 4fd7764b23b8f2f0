"""A cache of digests on disk, so that large files are read again only after a change."""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from surm_bench.content.fields import fields_digest
from surm_bench.system.atomic import atomic


def cache_folder() -> Path:
    """Return $XDG_CACHE_HOME/surm_bench/digests, by default in ~/.cache (XDG base directory specification).

    For a user without a home this is a folder that cannot exist, so nothing is kept.
    """
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        base = os.devnull
    return Path(base) / "surm_bench" / "digests"


@dataclass(frozen=True)
class FileCache:
    """A cache with one small JSON file per computation and input files. An unusable cache is ignored without an error.

    Attributes:
        folder: the folder of the JSON files.
        verify: ignore cached results, compute again, and store the new results.
    """

    folder: Path = field(default_factory=cache_folder)
    verify: bool = False

    def get(self, files: Sequence[str | Path], computation: str, compute: Callable[[], str]) -> str:
        """Return ``compute()``, from the cache if path, size, mtime and inode of each file are unchanged.

        Args:
            computation: the name of the computation with all its parameters; each name has its own entry.

        Raises:
            OSError: a file does not exist.
        """
        paths = [Path(file).resolve() for file in files]
        key = fields_digest([computation.encode(), *(os.fsencode(path) for path in paths)])
        entry, stamp = self.folder / f"{key}.json", [_stamp(path) for path in paths]
        kept = None if self.verify else _read(entry, stamp)
        if kept is not None:
            return kept
        result = compute()
        with suppress(OSError), atomic(entry) as temporary:
            temporary.write_text(json.dumps({"stamp": stamp, "result": result, "check": _check(stamp, result)}))
        return result


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _read(entry: Path, stamp: list[list[int]]) -> str | None:
    """Return the result in an entry; None if the entry is not readable or the files have changed."""
    try:
        kept = json.loads(entry.read_bytes())
        whole = kept["stamp"] == stamp and kept["check"] == _check(stamp, kept["result"])
        return kept["result"] if whole else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _check(stamp: list[list[int]], result: str) -> str:
    """Return a checksum of an entry's content, because a digest with a flipped bit would name another model."""
    return fields_digest([json.dumps([stamp, result]).encode()])
