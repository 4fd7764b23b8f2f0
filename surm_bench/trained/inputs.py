"""Texts of a file, or images of a folder, as rows of a task; their labels are not known and set to 0."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from datasets import Dataset, Image

from surm_bench.errors import UserError
from surm_bench.tasks.folders import EXTENSIONS, image_files
from surm_bench.tasks.tables import FRAMES

READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".parquet": pd.read_parquet,
    **FRAMES,
}


class Inputs(NamedTuple):
    """Rows with the columns of a task, and how each is called: its place in a file, from 0, or the name of its file."""

    rows: Dataset
    key: str  # row | file
    names: list


def read_inputs(source: Path, task: dict) -> Inputs:
    """The inputs of a file or folder for a task.

    Args:
        task: its configuration, with kind, inputs, label and rename.

    Raises:
        UserError: there is no such file, it is of another format or not readable, has no rows or images, lacks a
            column, or a text is missing.
    """
    if not source.exists():
        raise UserError(f"there is no file or folder {source}")
    return (_images if task["kind"] == "image" else _texts)(source, task)


def _images(source: Path, task: dict) -> Inputs:
    files = image_files(source) if source.is_dir() else [source]
    if not files or files[0].suffix.lower() not in EXTENSIONS:
        raise UserError(f"{source} is no image and has none: the task needs {', '.join(EXTENSIONS)}")
    names = [file.relative_to(source).as_posix() if source.is_dir() else file.name for file in files]
    columns = {task["inputs"][0]: [str(file) for file in files], task["label"]: [0] * len(files)}
    rows = Dataset.from_dict(columns).cast_column(task["inputs"][0], Image())
    return Inputs(rows, "file", names)


def _texts(source: Path, task: dict) -> Inputs:
    frame = _read(source).rename(columns=task["rename"])
    wanted = task["inputs"]
    if missing := [name for name in wanted if name not in frame.columns]:
        raise UserError(f"{source}: no column {', '.join(missing)}; found {', '.join(map(str, frame.columns))}")
    if frame.empty:
        raise UserError(f"{source}: no rows")
    for name in wanted:
        for row, text in enumerate(frame[name]):
            if not isinstance(text, str):
                raise UserError(f"{source}: column {name} must hold texts, row {row} has {text!r}")
    columns = {name: frame[name].tolist() for name in wanted} | {task["label"]: [0] * len(frame)}
    return Inputs(Dataset.from_dict(columns), "row", list(range(len(frame))))


def _read(source: Path) -> pd.DataFrame:
    read = READERS.get(source.suffix.lower())
    if read is None or not source.is_file():
        raise UserError(f"{source}: the task is of text and needs a file that ends in {', '.join(READERS)}")
    try:
        return read(source)
    except (ValueError, OSError) as error:  # pyarrow's errors and pandas' own are ValueErrors
        raise UserError(f"{source} cannot be read: {str(error).partition(chr(10))[0]}") from error
