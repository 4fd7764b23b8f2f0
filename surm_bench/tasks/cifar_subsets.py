"""The subsets of CIFAR-10 and CIFAR-100 that this benchmark measured on, drawn again from the official images.

A manifest, manifests/<name>/<split>.txt, lists a subset: its first line is the digest of its rows
(surm_bench.content.rows_digest), every other one an image in the order of rows, as twelve hex digits of the SHA-256 of
its 32x32x3 RGB bytes, and its label.

CIFAR-10: 10,000 of the official training images and 2,000 of the official test images. CIFAR-100: as many, but NOT of
the official splits: where they come from, training and test images were pooled. So both splits are searched for every
image, and scores on this CIFAR-100 cannot be compared with published ones.
"""

import argparse
import hashlib
import sys
from pathlib import Path
from typing import NamedTuple

from datasets import Dataset, concatenate_datasets
from omegaconf import OmegaConf
from PIL.Image import Image

from surm_bench.atomic import atomic
from surm_bench.config import TaskConfig, config_dir
from surm_bench.content import rows_digest
from surm_bench.errors import UserError
from surm_bench.tasks.check import check_split
from surm_bench.tasks.sources import read_splits

MANIFESTS = Path(__file__).parent / "manifests"
NAMES = ("cifar10", "cifar100")
SPLITS = ("train", "test")


class Manifest(NamedTuple):
    """The digest of a subset's rows, and of each row the digest of its pixels and its label."""

    rows: str
    images: list[tuple[str, int]]


def main() -> None:
    """Draw what the command line names; bad input is one line on standard error and exit code 2."""
    parser = argparse.ArgumentParser(description="Draw this benchmark's subset of CIFAR from the official images.")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("folder", type=Path, help="where <name>/train.parquet and <name>/test.parquet go")
    parser.add_argument("--source", help="a folder with the official <name>/{train,test}.parquet (default: the hub)")
    options = parser.parse_args()
    try:
        for file in rebuild(options.name, options.folder, options.source):
            print(file)
    except UserError as error:
        print(f"surm-bench: {error}", file=sys.stderr)
        sys.exit(2)


def rebuild(name: str, folder: Path, source: str | None = None) -> list[Path]:
    """Write the splits of a subset as parquet, in columns ``image`` and ``label``, and return the files.

    Raises:
        UserError: a file is there already or cannot be written, the official images are not at ``source`` or out of
            reach, or :func:`draw` refuses them.
    """
    files = {split: folder / name / f"{split}.parquet" for split in SPLITS}
    for file in files.values():
        if file.exists():
            raise UserError(f"{file} is there already: name another folder")
    try:
        (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {folder / name}: {error.strerror}") from error
    yaml = OmegaConf.load(config_dir() / "task" / "images" / f"{name}.yaml")
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TaskConfig), yaml, {"data_dir": source}))
    official = concatenate_datasets([check_split(split, config) for split in read_splits(config)])
    subsets = draw(official, {split: read_manifest(MANIFESTS / name / f"{split}.txt") for split in SPLITS})
    for split, file in files.items():
        with atomic(file) as temporary:
            subsets[split].to_parquet(temporary)
    return list(files.values())


def draw(images: Dataset, manifests: dict[str, Manifest]) -> dict[str, Dataset]:
    """The rows of ``images`` (columns ``image``, ``label``) that each manifest lists, in its order.

    Raises:
        UserError: an image is missing or has another label, or the rows are not those that a manifest was made of.
    """
    found = {key: row for row, key in enumerate(image_keys(images))}  # of equal images any one will do
    listed = [key for manifest in manifests.values() for key in manifest.images]
    if missing := sum(key not in found for key in listed):
        raise UserError(f"{missing} of the subset's {len(listed)} images are not among the {len(images)} given ones")
    subsets = {split: images.select([found[key] for key in manifest.images]) for split, manifest in manifests.items()}
    for split, subset in subsets.items():
        digest = rows_digest(subset, ["image"], "label", "image")
        if digest != manifests[split].rows:
            raise UserError(
                f"the rows of {split} have the digest {digest}, their manifest says {manifests[split].rows}"
            )
    return subsets


def image_keys(images: Dataset) -> list[tuple[str, int]]:
    """Of each row the digest of its pixels, as the manifests have it, and its label."""
    return [(pixel_digest(row["image"]), row["label"]) for row in images]


def pixel_digest(image: Image) -> str:
    """Twelve hex digits of the SHA-256 of an image's RGB bytes, row by row."""
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()[:12]


def read_manifest(file: Path) -> Manifest:
    """The manifest in a file."""
    rows, *lines = file.read_text().splitlines()
    return Manifest(rows, [(digest, int(label)) for digest, label in map(str.split, lines)])
