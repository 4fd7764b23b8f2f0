"""Folders of images, one for each class: <task.data_dir>/train/<class>/*.png, and validation, test or val likewise."""

from pathlib import Path

from datasets import ClassLabel, Dataset, Features, Image

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError
from surm_bench.tasks.splits import FIRST, names_of_split

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")


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
    if empty := [name for name in names if not image_files(train / name)]:
        raise UserError(f"{train}: no images ({', '.join(EXTENSIONS)}) in {', '.join(empty)}")
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
    files = [(str(file), names.index(name)) for name in found for file in image_files(folder / name)]
    columns = {"image": [file for file, _ in files], "label": [label for _, label in files]}
    return Dataset.from_dict(columns, features=Features({"image": Image(), "label": ClassLabel(names=names)}))


def _subfolders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, however deep; hidden files and what is no image by its name are passed over."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in EXTENSIONS
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
