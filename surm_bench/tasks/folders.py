"""Reader of image folders, one for each class: <task.data_dir>/train/<class>/*.png; validation, test and val alike."""

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
from surm_bench.tasks.splits import FIRST, data_folder, names_of_split

KINDS = "files of a type that Pillow reads, such as .png, .jpg, .webp or .tif"
SHOWN = 5  # how many skipped files a message names


def split_folders(config: TaskConfig) -> list[Path]:
    """Return the folders of the training, reported and extra splits; a folder may not exist.

    Raises:
        UserError: task.data_dir is not set.
    """
    root = data_folder(config)
    names = FIRST if config.eval_split is None else names_of_split(config.eval_split)
    reported = next((root / name for name in names if (root / name).is_dir()), root / names[0])
    return [root / config.train_split, reported, *(root / split for split in config.extra_eval_splits.values())]


def class_names(train: Path) -> list[str]:
    """Return the sorted names of the class folders of ``train``; a class's label is its index in this list.

    Raises:
        UserError: there are fewer than two classes, or a class has no images.
    """
    names = _subfolders(train)
    if len(names) < 2:
        raise UserError(f"{train} needs a folder for each of at least two classes: found {', '.join(names) or 'none'}")
    if empty := [name for name in names if not image_files(train / name)[0]]:
        raise UserError(f"{train}: no images ({KINDS}) in {', '.join(empty)}")
    return names


def read_folder(folder: Path, names: list[str]) -> Dataset:
    """Read a folder as columns ``image`` (decoded on access) and ``label``, ordered by class and file name.

    Args:
        names: the classes of the training split.

    Raises:
        UserError: the folder has a class that the training split does not have.
    """
    folders = _subfolders(folder)
    if strangers := [name for name in folders if name not in names]:
        raise UserError(f"{folder} has the class {strangers[0]!r}, but {classes_are(names, strangers[0])}")
    files, others = [], [entry for entry in _visible(folder) if not entry.is_dir()]
    for label, name in enumerate(names):
        if name in folders:
            images, passed_over = image_files(folder / name)
            files += [(str(file), label) for file in images]
            others += passed_over
    tell_passed_over(folder, others, "not of a type that Pillow reads, or not in the folder of a class")
    columns = {"image": [file for file, _ in files], "label": [label for _, label in files]}
    return Dataset.from_dict(columns, features=Features({"image": Image(), "label": ClassLabel(names=names)}))


def image_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the images of a folder and its subfolders, and the skipped files, both sorted.

    A file is an image if Pillow reads files with its extension. Hidden files are in neither list. Links to folders are
    skipped.

    Raises:
        UserError: a file name is not valid UTF-8, so no table can hold it.
    """
    known = set(extensions())
    entries = [entry for entry in sorted(folder.rglob("*")) if entry.is_symlink() or not entry.is_dir()]
    visible = [entry for entry in entries if not any(p.startswith(".") for p in entry.relative_to(folder).parts)]
    if wrong := [entry for entry in visible if not _is_unicode(str(entry))]:
        raise UserError(f"{os.fsencode(wrong[0])!r} has a name that is not in UTF-8: rename it")
    images = [entry for entry in visible if entry.suffix.lower() in known and not entry.is_dir()]
    return images, sorted({*visible} - {*images})


def tell_passed_over(folder: Path, files: Sequence[Path], reason: str) -> None:
    """Log one line with the number and the first names of a folder's skipped files, and the reason."""
    if files:
        names = [file.relative_to(folder).as_posix() for file in files[:SHOWN]] + ["..."] * (len(files) > SHOWN)
        tell(f"{folder}: {len(files):,} files are skipped ({reason}): {', '.join(names)}")


def _is_unicode(name: str) -> bool:
    with suppress(UnicodeEncodeError):
        return bool(name.encode())
    return False


def _subfolders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in _visible(folder) if entry.is_dir())


def _visible(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
