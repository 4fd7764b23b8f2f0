"""Where local data are: the folder of a task, and the names that a split may have there."""

from pathlib import Path

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError

FIRST = ("validation", "test", "val")  # names of a folder's reported split if task.eval_split is null


def names_of_split(split: str) -> tuple[str, ...]:
    """Return the names that a split may have in a local folder; the first name that exists is used.

    A folder may call validation ``val``, and MNLI's validation_matched ``validation``. A test split has no other name.
    """
    if split == "validation":
        return ("validation", "val")
    return (split, "validation") if split == "validation_matched" else (split,)


def data_folder(config: TaskConfig) -> Path:
    """Return the folder task.data_dir.

    Raises:
        UserError: task.data_dir is not set.
    """
    if config.data_dir is None:
        rows = "images" if config.source == "folder" else "tables"
        raise UserError(
            f"task {config.name} reads local {rows}: name their folder with --data (make: DATA=, a run: task.data_dir=)"
        )
    return Path(config.data_dir).expanduser()
