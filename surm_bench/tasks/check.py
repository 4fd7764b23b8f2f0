"""What is refused before anything expensive: choices that contradict each other, and splits that are not as said."""

import numpy as np
from datasets import Dataset, Image

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError, unknown
from surm_bench.tasks.augment import AUGMENTATIONS
from surm_bench.tasks.sources import Split

VALIDATIONS = ("dev", "holdout", "tuning")
TAKEN = ("reported", "validation")  # names of splits that every task may have
SUBSETS = ("fraction", "shots", "max_train_samples", "vtab1k")  # each says by itself what is left of train


def check_task(config: TaskConfig) -> None:
    """Refuse what the configuration alone shows to be wrong.

    Raises:
        UserError: an unknown validation or augmentation, an extra split of a name that is taken, two subsets at once,
            or a subset that is none or not for this task.
    """
    if config.validation not in VALIDATIONS:
        raise unknown("task.validation", config.validation, VALIDATIONS)
    if config.validation_rows < 1:
        raise UserError(f"task.validation_rows={config.validation_rows} is not possible: at least 1")
    if config.subset_seed is not None and config.subset_seed < 0:
        raise UserError(f"task.subset_seed={config.subset_seed} is not possible: 0 or more, or null for the run's seed")
    if config.augment not in AUGMENTATIONS:
        raise unknown("task.augment", config.augment, AUGMENTATIONS)
    if config.augment != "none" and config.kind != "image":
        raise UserError(f"task.augment={config.augment} is for images, {config.name} is a task of {config.kind}")
    if config.max_length != TaskConfig().max_length and config.kind != "text":
        raise UserError(f"task.max_length={config.max_length} has no effect: {config.name} is a task of {config.kind}")
    if config.max_length < 1:
        raise UserError(f"task.max_length={config.max_length} is not possible: at least 1 token")
    if config.label_names is not None and not 2 <= len(set(config.label_names)) == len(config.label_names):
        raise UserError(f"task.label_names={','.join(config.label_names)} is not possible: two different ones at least")
    if config.eval_split is None and config.source != "folder":
        raise UserError(f"task.eval_split of {config.name} is null: name the split to be scored, as validation or test")
    for name in config.extra_eval_splits:
        if name in TAKEN or not name.isidentifier():
            raise UserError(f"task.extra_eval_splits cannot have the name {name!r}: choose another word")
    given = [f"task.{name}" for name in SUBSETS if getattr(config, name) not in (None, False)]
    if len(given) > 1:
        choices = ", ".join(f"task.{name}" for name in SUBSETS)
        raise UserError(f"{' and '.join(given)} do not go together: give at most one of {choices}")
    if config.fraction is not None and not 0 < config.fraction <= 1:
        raise UserError(f"task.fraction={config.fraction} is not possible: above 0, up to 1")
    if config.shots is not None and config.shots < 1:
        raise UserError(f"task.shots={config.shots} is not possible: at least 1 of each class")
    if config.shots is not None and config.num_labels == 1:
        raise UserError(f"task.shots is for classes, {config.name} is a regression: give task.fraction")
    if config.vtab1k and config.kind != "image":
        raise UserError(f"task.vtab1k is a protocol for images, {config.name} is a task of {config.kind}")


def check_split(split: Split, config: TaskConfig) -> Dataset:
    """The split with only the task's columns.

    Raises:
        UserError: no rows, a missing column, inputs of another type, missing values, labels out of range.
    """
    dataset, origin = split
    wanted = [*config.inputs, config.label]
    missing = [name for name in wanted if name not in dataset.column_names]
    if missing:
        raise UserError(f"{origin}: no column {', '.join(missing)}; found {', '.join(dataset.column_names)}")
    if not len(dataset):
        raise UserError(f"{origin}: no rows")
    dataset = dataset.select_columns(wanted)
    for name in config.inputs:
        _check_input(dataset, name, config, origin)
    _check_labels(labels_of(dataset, config), config, origin)
    return dataset


def labels_of(dataset: Dataset, config: TaskConfig) -> np.ndarray:
    """The labels, (rows,), read without decoding the inputs."""
    return np.asarray(dataset.select_columns(config.label)[:][config.label])


def _check_input(dataset: Dataset, name: str, config: TaskConfig, origin: str) -> None:
    feature = dataset.features[name]
    if config.kind == "image":
        fits, wanted = isinstance(feature, Image), "images (the Image feature of datasets)"
    else:
        fits, wanted = getattr(feature, "dtype", None) in ("string", "large_string"), "strings"
    if not fits:
        raise UserError(f"{origin}: column {name} must hold {wanted}, found {feature}")
    if dataset.data.column(name).null_count:
        raise UserError(f"{origin}: column {name} has missing values")


def _check_labels(labels: np.ndarray, config: TaskConfig, origin: str) -> None:
    if config.num_labels == 1:
        if labels.dtype.kind not in "iuf" or not np.isfinite(labels).all():
            raise UserError(f"{origin}: column {config.label} must hold finite numbers")
        return
    if labels.dtype.kind not in "iu":
        other = next(label for label in labels.tolist() if type(label) is not int)
        raise UserError(f"{origin}: column {config.label} must hold whole numbers, found for instance {other!r}")
    outside = np.unique(labels[(labels < 0) | (labels >= config.num_labels)]).tolist()
    if outside:
        unlabelled = " (-1 marks a split without labels)" if -1 in outside else ""
        some = ", ".join(map(str, outside[:5])) + (", ..." if len(outside) > 5 else "")
        raise UserError(f"{origin}: labels {some} are outside 0..{config.num_labels - 1}{unlabelled}")
