"""A task's splits: read, checked and subsampled. Knows no model."""

from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError, unknown
from surm_bench.tasks.check import check_split, labels_of
from surm_bench.tasks.sources import read_splits

HOLDOUT_FRACTION = 0.1


@dataclass(frozen=True)
class RawTask:
    """Splits as they were read: the input columns and the label, checked.

    Attributes:
        holdout: a tenth of train that train no longer holds, for the choice of an epoch; None unless asked for.
    """

    config: TaskConfig
    train: Dataset
    evaluation: Dataset
    holdout: Dataset | None


def load_task(config: TaskConfig, seed: int) -> RawTask:
    """Read, check and subsample the training and the reported split; ``seed`` draws the holdout.

    Raises:
        UserError: a missing folder, file or column, labels out of range, an empty split, a subset larger than its
            split, the hub out of reach.
    """
    if config.validation not in ("dev", "holdout"):
        raise unknown("task.validation", config.validation, ("dev", "holdout"))
    train, evaluation = (check_split(split, config) for split in read_splits(config))
    train = _subset(train, config.max_train_samples, "task.max_train_samples", config.subset_seed)
    evaluation = _subset(evaluation, config.max_eval_samples, "task.max_eval_samples", config.subset_seed)
    holdout = None
    if config.validation == "holdout":
        train, holdout = _hold_out(train, config, seed)
    return RawTask(config, train, evaluation, holdout)


def _subset(dataset: Dataset, size: int | None, option: str, seed: int) -> Dataset:
    """The first ``size`` rows of a seeded shuffle, so that a larger subset contains a smaller one."""
    if size is None:
        return dataset
    if not 1 <= size <= len(dataset):
        raise UserError(f"{option}={size} is outside 1..{len(dataset)}, the rows of that split")
    return dataset.select(np.random.default_rng(seed).permutation(len(dataset))[:size], keep_in_memory=True)


def _hold_out(dataset: Dataset, config: TaskConfig, seed: int) -> tuple[Dataset, Dataset]:
    """Split off a tenth, of every class a tenth; both parts keep the order of rows."""
    labels = labels_of(dataset, config)
    strata = labels if config.num_labels > 1 else np.zeros(len(labels), dtype=int)
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    for value in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == value))
        held[rows[: round(HOLDOUT_FRACTION * len(rows))]] = True
    if not held.any():
        raise UserError(f"task.validation=holdout needs more than the {len(labels)} training rows of {config.name}")
    keep, out = (dataset.select(np.flatnonzero(mask), keep_in_memory=True) for mask in (~held, held))
    return keep, out
