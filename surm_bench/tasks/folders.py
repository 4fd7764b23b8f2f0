"""Folders of images, one for each class: <task.data_dir>/train/<class>/*.png, and validation, test or val likewise."""

from collections.abc import Iterable
from pathlib import Path

from datasets import ClassLabel, Dataset, Features, Image

from surm_bench.config import TaskConfig
from surm_bench.content import extensions
from surm_bench.errors import UserError
from surm_bench.tasks.notices import tell

SHOWN = 5  # names of files that are passed over
VALIDATION = ("validation", "test", "val")  # the first there is, for eval_split=validation


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
    names = VALIDATION if config.eval_split == "validation" else [config.eval_split]
    reported = next((root / name for name in names if (root / name).is_dir()), root / config.eval_split)
    return [root / config.train_split, reported, *(root / split for split in config.extra_eval_splits.values())]


def class_names(train: Path) -> list[str]:
    """The sorted names of the class folders of ``train``: a class's label is its place here.

    Raises:
        UserError: fewer than two classes, or a class without images.
    """
    names = _subfolders(train)
    if len(names) < 2:
        raise UserError(f"{train} needs a folder for each of at least two classes: found {', '.join(names) or 'none'}")
    if empty := [name for name in names if not image_files(train / name)]:
        raise UserError(f"{train}: no images ({', '.join(extensions())}) in {', '.join(empty)}")
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
        raise UserError(f"{folder}: no such class in the training split: {', '.join(strangers)}")
    _tell_passed_over(
        folder, [entry for entry in _visible(folder) if not entry.is_dir()], "beside the folders of classes"
    )
    files = [(str(file), names.index(name)) for name in found for file in image_files(folder / name)]
    columns = {"image": [file for file, _ in files], "label": [label for _, label in files]}
    return Dataset.from_dict(columns, features=Features({"image": Image(), "label": ClassLabel(names=names)}))


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, however deep, sorted: the files whose ending Pillow reads.

    Hidden files are passed over; others, and links to folders, are counted and named in one line of the log.
    """
    known = set(extensions())
    files = [file for file in folder.rglob("*") if file.is_symlink() or not file.is_dir()]
    files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)]
    images = [file for file in files if file.suffix.lower() in known and not file.is_dir()]
    _tell_passed_over(folder, set(files) - set(images), "no images by their names")
    return sorted(images)


def _subfolders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in _visible(folder) if entry.is_dir())


def _visible(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]


def _tell_passed_over(folder: Path, files: Iterable[Path], reason: str) -> None:
    names = sorted(file.relative_to(folder).as_posix() for file in files)
    if names:
        some = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        tell(f"{folder}: {len(names):,} files passed over, {reason}: {some}")
