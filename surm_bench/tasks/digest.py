"""The digest of a task's rows: one digest for each split, joined by dashes."""

import json
from pathlib import Path

from datasets import Dataset

from surm_bench.config import TaskConfig
from surm_bench.content import FileCache, rows_digest
from surm_bench.errors import UserError
from surm_bench.tasks.check import check_scored, check_split
from surm_bench.tasks.labels import Split
from surm_bench.tasks.sources import read_splits

READER = 2  # version of the reader: raise it when files are read differently, then digests are recomputed


def checked_splits(config: TaskConfig, cache: FileCache | None = None) -> list[Dataset]:
    """Read and check the training, reported and extra splits, with the task's columns.

    Raises:
        UserError: read_splits or check_split refuses the data, or the rows do not match a declared task.digest.
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
    """Return twelve hex digits for each of the training, reported and extra splits, in this order, joined by dashes.

    Raises:
        UserError: read_splits or check_split refuses the data.
    """
    splits, datasets = _checked(config)
    return "-".join(_digests(datasets, [split.origin for split in splits], config, cache))


def _checked(config: TaskConfig) -> tuple[list[Split], list[Dataset]]:
    """Return the splits and their checked rows. Scored splits keep rows without a label, but need a row with one."""
    splits = read_splits(config)
    datasets = [check_split(split, config, labelled=split is splits[0]) for split in splits]
    if config.validation != "tuning":  # "tuning" scores only rows of the training split
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
    if not files:  # generated rows or a folder of images have no file to cache by
        return compute()
    # The cache key holds every setting that changes the rows: one file may hold several splits (train[:100]).
    read = {"kind": config.kind, "inputs": config.inputs, "label": config.label, "rename": config.rename}
    read["numbers"] = str(dataset.features[config.label])  # labels given as names are numbered by the names in train
    read |= {"white": config.white, "reader": READER}
    return cache.get(files, f"rows of {origin}, {len(dataset)}: {json.dumps(read, sort_keys=True)}", compute)
