"""Read new inputs, texts of a file or images of a folder, as rows of a task. Their unknown labels are set to 0."""

from pathlib import Path
from typing import NamedTuple

from datasets import Dataset, Image

from surm_bench.config import TaskConfig
from surm_bench.content import extensions
from surm_bench.errors import UserError
from surm_bench.tasks.check import check_inputs
from surm_bench.tasks.folders import KINDS, image_files, tell_passed_over
from surm_bench.tasks.labels import Split
from surm_bench.tasks.notices import tell
from surm_bench.tasks.tables import ENDINGS, read_table


class Inputs(NamedTuple):
    """Rows with a task's columns, and the name of each row: its number in the file, from 0, or the name of its file."""

    rows: Dataset
    key: str  # row | file
    names: list


def read_inputs(source: Path, task: TaskConfig) -> Inputs:
    """Read the inputs of a file or folder for a task.

    Raises:
        UserError: the file does not exist, has another format, is not readable, has no rows or images, or lacks a
            column, or a text is missing.
    """
    if not source.exists():
        raise UserError(f"{source} does not exist: name a file or a folder")
    inputs = (_images if task.kind == "image" else _texts)(source, task)
    rows = inputs.rows.add_column(task.label, [0] * len(inputs.names))
    check_inputs(Split(rows, str(source)), task)
    return inputs._replace(rows=rows)


def _images(source: Path, task: TaskConfig) -> Inputs:
    files, others = image_files(source) if source.is_dir() else ([source], [])
    if not files or files[0].suffix.lower() not in extensions():
        raise UserError(f"{source} contains no images: the task needs {KINDS}")
    tell_passed_over(source, others, "not of a type that Pillow reads")
    names = [file.relative_to(source).as_posix() if source.is_dir() else file.name for file in files]
    (column,) = task.inputs
    return Inputs(
        Dataset.from_dict({column: [str(file) for file in files]}).cast_column(column, Image()), "file", names
    )


def _texts(source: Path, task: TaskConfig) -> Inputs:
    if source.suffix.lower() not in ENDINGS or not source.is_file():
        raise UserError(f"{source} is not possible: a text task needs a file that ends in {', '.join(ENDINGS)}")
    rows, places = read_table(source, task.inputs, task.rename)
    if not places:
        raise UserError(f"{source} has no rows")
    if blank := places[-1] + 1 - len(places):
        tell(f"{source}: {blank:,} blank lines get no prediction; row numbers count blank lines too")
    return Inputs(rows, "row", places)
