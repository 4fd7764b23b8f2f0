"""Folders of images, one for each class: <task.data_dir>/train/<class>/*.png, and validation, test or val likewise."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from datasets import ClassLabel, Dataset, Features, Image

from surm_bench.config import TaskConfig
from surm_bench.content import extensions
from surm_bench.errors import UserError
from surm_bench.tasks.labels import classes_are
from surm_bench.tasks.notices import tell
from surm_bench.tasks.splits import FIRST, names_of_split

KINDS = "files of a type that Pillow reads, as .png, .jpg, .webp or .tif"
SHOWN = 5  # names of files that are passed over


def split_folders(config: TaskConfig) -> list[Path]:
    """The folders of the training, the reported and the extra splits; not every one need exist.

    Raises:
        UserError: no folder is named.
    """
    if config.data_dir is None:
        raise UserError(
            f"task {config.name} reads a folder of images: name it by --data (make: DATA=, a run: task.data_dir=)"
        )
    root = Path(config.data_dir).expanduser()
    names = FIRST if config.eval_split is None else names_of_split(config.eval_split)
    reported = next((root / name for name in names if (root / name).is_dir()), root / names[0])
    return [root / config.train_split, reported, *(root / split for split in config.extra_eval_splits.values())]


def class_names(train: Path) -> list[str]:
    """The sorted names of the class folders of ``train``: a class's label is its place here.

    Raises:
        UserError: fewer than two classes, or a class without images.
    """
    names = _subfolders(train)
    if len(names) < 2:
        raise UserError(f"{train} needs a folder for each of at least two classes: found {', '.join(names) or 'none'}")
    if empty := [name for name in names if not image_files(train / name)[0]]:
        raise UserError(f"{train}: no images ({KINDS}) in {', '.join(empty)}")
    return names


def read_folder(folder: Path, names: list[str]) -> Dataset:
    """Columns ``image`` (decoded when asked for) and ``label``, ordered by class and file name.

    Args:
        names: the classes of the training split.

    Raises:
        UserError: a class that is not among those of training.
    """
    found = _subfolders(folder)
    if strangers := [name for name in found if name not in names]:
        raise UserError(f"{folder} has the class {strangers[0]!r}, {classes_are(names, strangers[0])}")
    files, others = [], [entry for entry in _visible(folder) if not entry.is_dir()]
    for label, name in enumerate(names):
        if name in found:
            images, passed_over = image_files(folder / name)
            files += [(str(file), label) for file in images]
            others += passed_over
    tell_passed_over(folder, others)
    columns = {"image": [file for file, _ in files], "label": [label for _, label in files]}
    return Dataset.from_dict(columns, features=Features({"image": Image(), "label": ClassLabel(names=names)}))


def image_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The images of a folder, however deep, and the files that are passed over, both sorted.

    Images are the files whose ending Pillow reads. Hidden files are neither; a link to a folder is passed over.

    Raises:
        UserError: a name that is not in UTF-8, which no table can hold.
    """
    known = set(extensions())
    entries = [entry for entry in sorted(folder.rglob("*")) if entry.is_symlink() or not entry.is_dir()]
    visible = [entry for entry in entries if not any(p.startswith(".") for p in entry.relative_to(folder).parts)]
    if wrong := [entry for entry in visible if not _is_unicode(str(entry))]:
        raise UserError(f"{os.fsencode(wrong[0])!r} has a name that is not in UTF-8: rename it")
    images = [entry for entry in visible if entry.suffix.lower() in known and not entry.is_dir()]
    return images, sorted({*visible} - {*images})


def tell_passed_over(folder: Path, files: Sequence[Path]) -> None:
    """Count and name files of a folder that are not read, in one line of the log."""
    if files:
        names = [file.relative_to(folder).as_posix() for file in files[:SHOWN]] + ["..."] * (len(files) > SHOWN)
        reason = "of no type that Pillow reads, or not in the folder of a class"
        tell(f"{folder}: {len(files):,} files are passed over ({reason}): {', '.join(names)}")


def _is_unicode(name: str) -> bool:
    with suppress(UnicodeEncodeError):
        return bool(name.encode())
    return False


def _subfolders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in _visible(folder) if entry.is_dir())


def _visible(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
