"""Reader of the binary version of the official CIFAR archives, https://www.cs.toronto.edu/~kriz/cifar.html.

The binary version is plain bytes; the Python version is pickled. A record holds one image: first its labels, one byte
each, then 32x32 bytes each of red, green and blue, row by row. A record of CIFAR-100 has a coarse label, then a fine
label; the fine label is the class used here.
"""

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from datasets import Dataset, Features, Image, Value

from surm_bench.errors import UserError
from surm_bench.tasks.sources import Split

SIDE = 32
PIXELS = 3 * SIDE * SIDE


class CifarArchive(NamedTuple):
    """An official archive: its address, the number of labels at the start of a record, and the files of each split."""

    address: str
    labels: int
    files: dict[str, list[str]]


ARCHIVES = {
    "cifar10": CifarArchive(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        1,
        {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]},
    ),
    "cifar100": CifarArchive(
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", 2, {"train": ["train.bin"], "test": ["test.bin"]}
    ),
}


def is_binary(name: str, source: Path) -> bool:
    """Return whether :func:`read_binary` reads this source: a file, or a folder with any file of the archive."""
    return source.is_file() or any((source / file).is_file() for file in _names(name))


def read_binary(name: str, source: Path) -> list[Split]:
    """Read the training and test images, in file order, as columns ``image`` (RGB, 32x32) and ``label``.

    Args:
        source: the archive, or the folder of its extracted .bin files.

    Raises:
        UserError: a file is missing, cannot be read, or does not consist of whole records.
    """
    contents = dict(_members(source, _names(name)) if source.is_file() else _files(source, _names(name)))
    if missing := [file for file in _names(name) if file not in contents]:
        raise UserError(f"{source} lacks {', '.join(missing)}: give all files of {ARCHIVES[name].address}")
    return [
        Split(_rows([_records(name, contents[file], f"{file} of {source}") for file in files]), f"{split} of {source}")
        for split, files in ARCHIVES[name].files.items()
    ]


def _names(name: str) -> list[str]:
    return [file for files in ARCHIVES[name].files.values() for file in files]


def _files(folder: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    try:
        yield from ((name, (folder / name).read_bytes()) for name in names if (folder / name).is_file())
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from error


def _members(archive: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Read the named files of an archive in one pass; nothing is extracted, so no member's name becomes a path."""
    try:
        with tarfile.open(archive) as members:
            for member in members:
                name = member.name.rpartition("/")[-1]
                if member.isfile() and name in names:
                    yield name, members.extractfile(member).read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise UserError(f"{archive} is not a readable .tar.gz archive ({error}): download it again") from error


def _records(name: str, content: bytes, origin: str) -> np.ndarray:
    """Return the records of a file, (images, labels + 3,072), uint8."""
    size = ARCHIVES[name].labels + PIXELS
    if not content or len(content) % size:
        raise UserError(f"{origin} has {len(content):,} bytes, not whole records of {size:,}: download it again")
    return np.frombuffer(content, np.uint8).reshape(-1, size)


def _rows(files: list[np.ndarray]) -> Dataset:
    """Return the records of several files as rows: the last label, and the three colour planes as a 32x32x3 image."""
    records = np.concatenate(files)
    images = records[:, -PIXELS:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    columns = {"image": list(images), "label": records[:, -PIXELS - 1].astype(np.int64)}
    return Dataset.from_dict(columns, features=Features(image=Image(), label=Value("int64")))
