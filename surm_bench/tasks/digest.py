"""What rows a task has: a digest of each of its splits, joined by dashes."""

from pathlib import Path

from surm_bench.config import TaskConfig
from surm_bench.content import FileCache, rows_digest
from surm_bench.errors import UserError
from surm_bench.tasks.sources import Split, read_splits


def task_digest(config: TaskConfig, cache: FileCache | None = None) -> str:
    """Twelve hex digits each of the training, the reported and the extra splits, in this order, joined by dashes.

    Raises:
        UserError: what read_splits and rows_digest raise.
    """
    return splits_digest(read_splits(config), config, cache)


def splits_digest(splits: list[Split], config: TaskConfig, cache: FileCache | None = None) -> str:
    """The same of splits that have been read."""
    return "-".join(_digest(split, config, cache or FileCache()) for split in splits)


def check_rows(splits: list[Split], config: TaskConfig, cache: FileCache | None = None) -> str:
    """The digest of the splits, which is the declared one.

    Raises:
        UserError: it is not; the message names the splits.
    """
    found = splits_digest(splits, config, cache)
    if config.digest is not None and found != config.digest:
        declared = config.digest.split("-")
        wrong = [
            split.origin
            for split, digest, right in zip(splits, found.split("-"), declared, strict=False)
            if digest != right
        ]
        raise UserError(
            f"task {config.name} has other rows than task.digest={config.digest} declares, in "
            f"{' and '.join(wrong) or 'the number of splits'}: give the data it is of, or task.digest=null to take "
            "what is there"
        )
    return found


def _digest(split: Split, config: TaskConfig, cache: FileCache) -> str:
    def compute() -> str:
        return rows_digest(split.dataset, config.inputs, config.label, config.kind)

    files = [file["filename"] for file in split.dataset.cache_files]
    files = files or ([split.origin] if Path(split.origin).is_file() else [])
    if not files:  # generated, or a folder of images: computed each time
        return compute()
    columns = ",".join([*config.inputs, config.label])
    return cache.get(files, f"{config.kind} rows of {columns}, {len(split.dataset)} rows", compute)
