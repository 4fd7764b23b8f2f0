"""What rows a task has: a digest of each of its splits, joined by dashes."""

import json
from pathlib import Path

from datasets import Dataset

from surm_bench.config import TaskConfig
from surm_bench.content import FileCache, rows_digest
from surm_bench.errors import UserError
from surm_bench.tasks.check import check_scored, check_split
from surm_bench.tasks.labels import Split
from surm_bench.tasks.sources import read_splits

READER = 2  # raised when files are read in another way: digests of the earlier one are then computed anew


def checked_splits(config: TaskConfig, cache: FileCache | None = None) -> list[Dataset]:
    """The training, the reported and the extra splits with the task's columns, checked.

    Raises:
        UserError: what read_splits and check_split refuse, or rows that are not those of a declared task.digest.
    """
    splits, datasets = _checked(config)
    if config.digest is not None:
        origins = [split.origin for split in splits]
        found = _digests(datasets, origins, config, cache)
        declared = config.digest.split("-")
        wrong = [origin for origin, one, other in zip(origins, found, declared, strict=False) if one != other]
        if found != declared:
            raise UserError(
                f"task {config.name} has other rows than task.digest={config.digest} declares, in "
                f"{' and '.join(wrong) or 'the number of its splits'}: give the data that it is of, or "
                "task.digest=null to take what is there"
            )
    return datasets


def task_digest(config: TaskConfig, cache: FileCache | None = None) -> str:
    """Twelve hex digits each of the training, the reported and the extra splits, in this order, joined by dashes.

    Raises:
        UserError: what read_splits and check_split refuse.
    """
    splits, datasets = _checked(config)
    return "-".join(_digests(datasets, [split.origin for split in splits], config, cache))


def _checked(config: TaskConfig) -> tuple[list[Split], list[Dataset]]:
    """The splits, and their checked rows. Rows without a label are left in: a split that is scored needs one other."""
    splits = read_splits(config)
    datasets = [check_split(split, config, labelled=split is splits[0]) for split in splits]
    if config.validation != "tuning":  # which scores rows of train alone
        for dataset, split in zip(datasets[1:], splits[1:], strict=True):
            check_scored(dataset, split.origin, config)
    return splits, datasets


def _digests(datasets: list[Dataset], origins: list[str], config: TaskConfig, cache: FileCache | None) -> list[str]:
    cache = cache or FileCache()
    return [_digest(dataset, origin, config, cache) for dataset, origin in zip(datasets, origins, strict=True)]


def _digest(dataset: Dataset, origin: str, config: TaskConfig, cache: FileCache) -> str:
    def compute() -> str:
        return rows_digest(dataset, config.inputs, config.label, config.kind, origin, config.white)

    files = [file["filename"] for file in dataset.cache_files]
    files = files or ([origin] if Path(origin).is_file() else [])
    if not files:  # generated, or a folder of images: computed each time
        return compute()
    # All that decides which rows and columns are read: one file may hold several splits (train[:100] on the hub).
    read = {"kind": config.kind, "inputs": config.inputs, "label": config.label, "rename": config.rename}
    read["numbers"] = str(dataset.features[config.label])  # labels that are names count by the names of train
    read |= {"white": config.white, "reader": READER}
    return cache.get(files, f"rows of {origin}, {len(dataset)}: {json.dumps(read, sort_keys=True)}", compute)
