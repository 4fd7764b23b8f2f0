"""The splits of a task, read at most once, with their digest: one digest for each split, joined by dashes."""

import json
from functools import cached_property
from pathlib import Path

from datasets import Dataset

from surm_bench.config import TaskConfig
from surm_bench.content import FileCache, rows_digest
from surm_bench.errors import UserError
from surm_bench.tasks.check import check_scored, check_split
from surm_bench.tasks.labels import Split, are_numbers
from surm_bench.tasks.sources import completed, read_splits

READER = 3  # version of the reader: raise it when files are read differently, then digests are recomputed


class TaskReader:
    """Reads the training, the reported and the extra splits of a task, when they are needed and only once.

    Args:
        config: the task, after ``config.check()``.
        cache: known digests of files.
    """

    def __init__(self, config: TaskConfig, cache: FileCache | None = None) -> None:
        self._given, self._cache = config, cache or FileCache()

    @cached_property
    def config(self) -> TaskConfig:
        """The task, completed from its data; raises UserError as surm_bench.tasks.sources.completed."""
        return completed(self._given)

    @cached_property
    def digest(self) -> str:
        """The declared digest, which needs no data, or the digest of the rows.

        Raises:
            UserError: as ``datasets``.
        """
        return self._given.digest or "-".join(self._digests)

    @cached_property
    def datasets(self) -> list[Dataset]:
        """The checked rows of each split, with the task's columns.

        Raises:
            UserError: read_splits or check_split refuses the data, or the rows do not match the declared digest.
        """
        declared = self._given.digest and self._given.digest.split("-")
        if declared and self._digests != declared:
            origins = [split.origin for split in self._splits]
            each = zip(origins, self._digests, declared, strict=False)
            wrong = [origin for origin, digest, given in each if digest != given]
            raise UserError(
                f"task {self._given.name} has other rows than task.digest={self._given.digest} declares; different: "
                f"{' and '.join(wrong) or 'the number of splits'}: give the declared data, or task.digest=null to "
                "accept these rows"
            )
        return self._checked

    @property
    def class_names(self) -> list[str] | None:
        """The names of the classes in order, as configured or as a ClassLabel of the rows has them; None: numbers."""
        names = self.config.label_names or getattr(self.datasets[0].features[self.config.label], "names", None)
        return None if are_numbers(names) else names

    @cached_property
    def _splits(self) -> list[Split]:
        return read_splits(self.config)

    @cached_property
    def _checked(self) -> list[Dataset]:
        """Scored splits keep rows without a label, but need a row with one; "tuning" scores only training rows."""
        train, *scored = self._splits
        datasets = [check_split(split, self.config, labelled=split is train) for split in self._splits]
        if self.config.validation != "tuning":
            for dataset, split in zip(datasets[1:], scored, strict=True):
                check_scored(dataset, split.origin, self.config)
        return datasets

    @cached_property
    def _digests(self) -> list[str]:
        each = zip(self._checked, self._splits, strict=True)
        return [_digest(dataset, split.origin, self.config, self._cache) for dataset, split in each]


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
