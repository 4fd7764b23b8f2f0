"""Loading of a task: read, check and subsample its splits. Independent of the model."""

from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from surm_bench.config import TaskConfig
from surm_bench.tasks.check import labels_of
from surm_bench.tasks.labels import NO_LABEL
from surm_bench.tasks.notices import tell
from surm_bench.tasks.reader import TaskReader
from surm_bench.tasks.subsets import shuffled_head, split_rows


@dataclass(frozen=True)
class RawTask:
    """The checked splits of a task before tokenisation: the input columns and the label.

    Attributes:
        config: the task's configuration, with the number of classes filled in from the data if it was null.
        train: the training examples.
        splits: the scored splits, in order: "reported", "validation" (rows of the training split that are not in
            ``train``) and the names in ``config.extra_eval_splits``; ``config.validation`` decides which of them exist.
        rows: the row numbers, (N,), of each scored split's examples in the split as read.
        train_rows: the row numbers of the training examples; None if ``train`` holds all rows.
    """

    config: TaskConfig
    train: Dataset
    splits: dict[str, Dataset]
    rows: dict[str, np.ndarray]
    train_rows: np.ndarray | None = None


def load_task(config: TaskConfig, seed: int) -> RawTask:
    """Read, check and subsample the training and the reported splits.

    Args:
        seed: the seed of the run. It draws the held-out tenth of train, and also the subset if subset_seed is None.

    Raises:
        UserError: contradictory options, a missing folder, file or column, labels out of range, an empty split, rows
            that do not match task.digest, a subset larger than its split, or the hub is out of reach.
    """
    config.check()
    return select_rows(TaskReader(config), seed)


def select_rows(reader: TaskReader, seed: int) -> RawTask:
    """Subsample the training and the reported splits of a task; arguments and errors are those of load_task."""
    config, (train, *others) = reader.config, reader.datasets
    kept, held = split_rows(labels_of(train, config), _class_names(train, config), config, seed)
    whole = {"reported": others[0], "validation": train, **dict(zip(config.extra_eval_splits, others[1:], strict=True))}
    rows = {name: held if name == "validation" else _scored_rows(name, whole[name], config) for name in _scored(config)}
    scored = {name: _select(whole[name], numbers) for name, numbers in rows.items()}
    return RawTask(config, _select(train, kept), scored, rows, kept)


def _scored(config: TaskConfig) -> list[str]:
    """Return the names of the splits to score."""
    if config.validation == "tuning":
        return ["validation"]
    held = ["validation"] if config.validation == "holdout" else []
    return ["reported", *held, *config.extra_eval_splits]


def _class_names(train: Dataset, config: TaskConfig) -> list[str]:
    names = getattr(train.features[config.label], "names", [])
    return names if len(names) == config.num_labels else [str(label) for label in range(config.num_labels)]


def _scored_rows(name: str, split: Dataset, config: TaskConfig) -> np.ndarray:
    """Return the rows of a split that have a label, or a random task.max_eval_samples of these rows if that is set."""
    rows = np.arange(len(split)) if config.is_regression else np.flatnonzero(labels_of(split, config) != NO_LABEL)
    if len(rows) < len(split):
        missing = len(split) - len(rows)
        tell(f"{config.name}, {name} split: {missing:,} of {len(split):,} rows have no label and are not scored")
    if config.max_eval_samples is None:
        return rows
    seed = config.subset_seed or 0  # all runs score the same rows, even if each run draws its own training rows
    return rows[shuffled_head(len(rows), config.max_eval_samples, "task.max_eval_samples", seed)]


def _select(dataset: Dataset, rows: np.ndarray) -> Dataset:
    return dataset.select(rows, keep_in_memory=True)
