"""The subsets of CIFAR-10 and CIFAR-100 that this benchmark measured on, drawn again from the official images.

A manifest, manifests/<name>/<split>.txt, lists a subset: its first line is the digest of its rows
(surm_bench.content.rows_digest), every other one an image in the order of rows, as twelve hex digits of the SHA-256 of
its 32x32x3 RGB bytes, and its label.

CIFAR-10: 10,000 of the official training images and 2,000 of the official test images. CIFAR-100: as many, but NOT of
the official splits: where they come from, training and test images were pooled. So both splits are searched for every
image, and scores on this CIFAR-100 cannot be compared with published ones.

What has been tried: the subsets were rebuilt from the files that the manifests were made from, and from shuffled copies
of these; never from the official archives, which were out of our reach. Nor could CIFAR-100's numbering of labels be
compared with the official one: if it is another, the refusal says that the images are there with another label.
"""

import argparse
import hashlib
import sys
from pathlib import Path
from typing import NamedTuple

from datasets import Dataset, concatenate_datasets
from PIL.Image import Image

from surm_bench.atomic import atomic_folder
from surm_bench.content import rows_digest
from surm_bench.errors import UserError
from surm_bench.tasks.cifar_official import SPLITS, read_official
from surm_bench.tasks.sources import Split

MANIFESTS = Path(__file__).parent / "manifests"
NAMES = ("cifar10", "cifar100")
# The official splits that are searched together: each for its own subset, or a pool of both for both.
SEARCHED = {"cifar10": (("train",), ("test",)), "cifar100": (("train", "test"),)}


class Manifest(NamedTuple):
    """The digest of a subset's rows, and of each row the digest of its pixels and its label."""

    rows: str
    images: list[tuple[str, int]]


def main() -> None:
    """Draw what the command line names; bad input is one line on standard error and exit code 2."""
    parser = argparse.ArgumentParser(description="Draw this benchmark's subset of CIFAR from the official images.")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("folder", type=Path, help="where <name>/train.parquet and <name>/test.parquet go")
    parser.add_argument(
        "--source",
        type=Path,
        help="the official images: cifar-10-binary.tar.gz or cifar-100-binary.tar.gz, a folder with its .bin files, or "
        "one with <name>/{train,test}.parquet (default: the hub)",
    )
    options = parser.parse_args()
    try:
        for file in rebuild(options.name, options.folder, options.source):
            print(file)
    except UserError as error:
        print(f"surm-bench: {error}", file=sys.stderr)
        sys.exit(2)


def rebuild(name: str, folder: Path, source: Path | None = None) -> list[Path]:
    """Write the splits of a subset as parquet, in columns ``image`` and ``label``, and return the files.

    They come into their folder, ``folder/name``, both or neither.

    Raises:
        UserError: the folder is there already or cannot be written, the official images are not at ``source`` or out
            of reach, or :func:`draw` refuses them.
    """
    target = folder / name
    try:
        if target.exists():
            raise UserError(f"{target} is there already: name another folder")
        with atomic_folder(target) as temporary:
            for split, subset in _subsets(name, source).items():
                subset.to_parquet(temporary / f"{split}.parquet")
    except OSError as error:
        raise UserError(
            f"cannot write to {target} ({error.strerror or error}): free space or name another folder"
        ) from error
    return [target / f"{split}.parquet" for split in SPLITS]


def draw(pool: list[Split], manifests: dict[str, Manifest]) -> dict[str, Dataset]:
    """The rows of ``pool`` (columns ``image``, ``label``) that each manifest lists, in its order.

    Raises:
        UserError: an image is missing, has another label or cannot be read, or the rows are not those that a manifest
            was made of.
    """
    keys = [key for split in pool for key in image_keys(split)]
    found = {key: row for row, key in enumerate(keys)}  # of equal images any one will do
    _check_found(found, len(keys), manifests)
    images = concatenate_datasets([split.dataset for split in pool])
    subsets = {split: images.select([found[key] for key in manifest.images]) for split, manifest in manifests.items()}
    for split, subset in subsets.items():
        digest = rows_digest(subset, ["image"], "label", "image")
        if digest != manifests[split].rows:
            raise UserError(
                f"the rows of {split} have the digest {digest}, their manifest says {manifests[split].rows}"
            )
    return subsets


def image_keys(split: Split) -> list[tuple[str, int]]:
    """Of each row the digest of its pixels, as the manifests have it, and its label.

    Raises:
        UserError: an image cannot be read; the message names its row.
    """
    keys: list[tuple[str, int]] = []
    try:
        for row in split.dataset:
            keys.append((pixel_digest(row["image"]), row["label"]))
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises, depending on which bytes are wrong
        raise UserError(f"row {len(keys)} of {split.origin} is not a readable image: give the file anew") from error
    return keys


def pixel_digest(image: Image) -> str:
    """Twelve hex digits of the SHA-256 of an image's RGB bytes, row by row."""
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()[:12]


def read_manifest(file: Path) -> Manifest:
    """The manifest in a file."""
    rows, *lines = file.read_text().splitlines()
    return Manifest(rows, [(digest, int(label)) for digest, label in map(str.split, lines)])


def _subsets(name: str, source: Path | None) -> dict[str, Dataset]:
    official = read_official(name, source)
    subsets = {}
    for together in SEARCHED[name]:
        manifests = {split: read_manifest(MANIFESTS / name / f"{split}.txt") for split in together}
        subsets |= draw([official[split] for split in together], manifests)
    return subsets


def _check_found(found: dict[tuple[str, int], int], count: int, manifests: dict[str, Manifest]) -> None:
    listed = [key for manifest in manifests.values() for key in manifest.images]
    known = {digest for digest, _ in found}
    absent = sum(digest not in known for digest, _ in listed)
    relabelled = sum(key not in found for key in listed) - absent
    problems = [f"{absent} are not among the {count} given ones"] if absent else []
    problems += [f"{relabelled} are there with another label"] if relabelled else []
    if problems:
        raise UserError(
            f"of the {len(listed)} images of {' and '.join(manifests)}, {' and '.join(problems)}: give the official "
            "images and labels"
        )
