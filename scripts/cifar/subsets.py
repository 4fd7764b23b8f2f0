"""Rebuild the subsets of CIFAR-10 and CIFAR-100 that this benchmark uses from the official images.

A manifest, manifests/<name>/<split>.txt, lists the images of a subset. Its first line is the digest of the subset's
rows (surm_bench.content.rows_digest). Each further line is one image, in row order: twelve hex digits of the SHA-256
of the image's 32x32x3 RGB bytes, and the label.

CIFAR-10: 10,000 of the official training images and 2,000 of the official test images. CIFAR-100: 10,000 training and
2,000 test images too, but NOT of the official splits: the source of this subset pooled training and test images. Both
official splits are therefore searched for every image, and scores on this CIFAR-100 cannot be compared with published
scores.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

from datasets import Dataset, concatenate_datasets
from PIL.Image import Image

from cifar.official import SPLITS, read_official
from surm_bench.content import rows_digest
from surm_bench.errors import UserError
from surm_bench.system.atomic import atomic_folder
from surm_bench.tasks.sources import Split

MANIFESTS = Path(__file__).parent / "manifests"
DATA_SETS = ("cifar10", "cifar100")
# Groups of official splits that are searched together: CIFAR-10 each split alone, CIFAR-100 both as one pool.
SEARCHED = {"cifar10": (("train",), ("test",)), "cifar100": (("train", "test"),)}


class Manifest(NamedTuple):
    """A manifest: the digest of a subset's rows, and a pair (digest of the pixels, label) for each row."""

    rows: str
    images: list[tuple[str, int]]


def rebuild(name: str, folder: Path, source: Path | None = None) -> list[Path]:
    """Write the splits of a subset as parquet with columns ``image`` and ``label``, and return the files.

    The folder ``folder/name`` is created with both files or not at all.

    Raises:
        UserError: the folder already exists or cannot be written, the official images are not at ``source`` or cannot
            be downloaded, or :func:`draw` refuses them.
    """
    target = folder / name
    try:
        if target.exists():
            raise UserError(f"{target} exists already: name another folder")
        with atomic_folder(target) as temporary:
            for split, subset in _subsets(name, source).items():
                subset.to_parquet(temporary / f"{split}.parquet")
    except OSError as error:
        raise UserError(
            f"cannot write to {target} ({error.strerror or error}): free space or name another folder"
        ) from error
    return [target / f"{split}.parquet" for split in SPLITS]


def draw(pool: list[Split], manifests: dict[str, Manifest]) -> dict[str, Dataset]:
    """Return the rows of ``pool`` (columns ``image``, ``label``) that each manifest lists, in the manifest's order.

    Raises:
        UserError: an image is missing, has another label or cannot be read, or the digest of the rows differs from the
            manifest's.
    """
    keys = [key for split in pool for key in image_keys(split)]
    rows = {key: row for row, key in enumerate(keys)}  # any of several equal images will do
    _check_rows(rows, len(keys), manifests)
    images = concatenate_datasets([split.dataset for split in pool])
    subsets = {split: images.select([rows[key] for key in manifest.images]) for split, manifest in manifests.items()}
    for split, subset in subsets.items():
        digest = rows_digest(subset, ["image"], "label", "image")
        if digest != manifests[split].rows:
            raise UserError(
                f"the rows of {split} have digest {digest}, but their manifest declares {manifests[split].rows}: "
                "give the official images"
            )
    return subsets


def image_keys(split: Split) -> list[tuple[str, int]]:
    """Return the pair (digest of the pixels, label) of each row, as in the manifests.

    Raises:
        UserError: an image cannot be read; the message names its row.
    """
    keys: list[tuple[str, int]] = []
    try:
        for row in split.dataset:
            keys.append((pixel_digest(row["image"]), row["label"]))
    except (OSError, ValueError, SyntaxError) as error:  # Pillow raises any of these, depending on the damage
        raise UserError(f"row {len(keys)} of {split.origin} is not a readable image: get the file again") from error
    return keys


def pixel_digest(image: Image) -> str:
    """Return twelve hex digits of the SHA-256 of an image's RGB bytes, row by row."""
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()[:12]


def read_manifest(file: Path) -> Manifest:
    """Read a manifest from its file."""
    rows, *lines = file.read_text().splitlines()
    return Manifest(rows, [(digest, int(label)) for digest, label in map(str.split, lines)])


def _subsets(name: str, source: Path | None) -> dict[str, Dataset]:
    official = read_official(name, source)
    subsets = {}
    for together in SEARCHED[name]:
        manifests = {split: read_manifest(MANIFESTS / name / f"{split}.txt") for split in together}
        subsets |= draw([official[split] for split in together], manifests)
    return subsets


def _check_rows(rows: dict[tuple[str, int], int], count: int, manifests: dict[str, Manifest]) -> None:
    """Refuse rows that lack an image of a manifest, or have the image with another label."""
    listed = [key for manifest in manifests.values() for key in manifest.images]
    known = {digest for digest, _ in rows}
    absent = sum(digest not in known for digest, _ in listed)
    relabelled = sum(key not in rows for key in listed) - absent
    problems = [f"{absent} are not among the {count} given images"] if absent else []
    problems += [f"{relabelled} have another label in the given images"] if relabelled else []
    if problems:
        raise UserError(
            f"of the {len(listed)} images of {' and '.join(manifests)}, {' and '.join(problems)}: give the official "
            "images and labels"
        )
