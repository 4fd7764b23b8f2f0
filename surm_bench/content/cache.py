"""Digests of local files, kept between processes: large files are read again only after they changed."""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from surm_bench.atomic import atomic
from surm_bench.content.fields import fields_digest


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/surm_bench/digests, by default in ~/.cache (XDG base directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "surm_bench" / "digests"


@dataclass(frozen=True)
class FileCache:
    """One small JSON file for each computation and the files it read; a cache that cannot be used is none.

    Attributes:
        folder: where they lie.
        verify: compute anew, whatever is kept, and keep that.
    """

    folder: Path = field(default_factory=cache_folder)
    verify: bool = False

    def get(self, files: Sequence[str | Path], computation: str, compute: Callable[[], str]) -> str:
        """What ``compute`` says of the files, from the cache while path, size, mtime and inode of each are the same.

        Args:
            computation: its name with all its parameters: another name is another entry.

        Raises:
            OSError: a file is not there.
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
    """What an entry says, if it is readable and of the files as they are now."""
    try:
        kept = json.loads(entry.read_bytes())
        whole = kept["stamp"] == stamp and kept["check"] == _check(stamp, kept["result"])
        return kept["result"] if whole else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _check(stamp: list[list[int]], result: str) -> str:
    """Of an entry's content: a digest with a flipped bit would name another model."""
    return fields_digest([json.dumps([stamp, result]).encode()])
