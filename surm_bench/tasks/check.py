"""Checks before any expensive work: contradictory task options, and splits that do not match the configuration."""

import numpy as np
from datasets import Dataset, Image

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError, unknown
from surm_bench.tasks.augment import AUGMENTATIONS
from surm_bench.tasks.labels import NO_LABEL, Split

VALIDATIONS = ("dev", "holdout", "tuning")
TAKEN = ("reported", "validation")  # reserved: every task may have splits of these names
SUBSETS = ("fraction", "shots", "max_train_samples", "vtab1k")  # alternatives: each alone sets the subset


def check_task(config: TaskConfig) -> None:
    """Refuse task options that are invalid, without reading any data.

    Raises:
        UserError: an unknown validation or augmentation, an extra split with a reserved name, two subset options at
            once, or a subset option that is out of range or does not apply to this task.
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
    _check_columns(config)
    _check_label_names(config)
    if config.white is not None and config.kind != "image":
        raise UserError(f"task.white={config.white} has no effect: {config.name} is a task of {config.kind}")
    if config.white is not None and not config.white > 0:
        raise UserError(f"task.white={config.white} is not possible: above 0")
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


def check_split(split: Split, config: TaskConfig, labelled: bool = True) -> Dataset:
    """Check a split and return its rows with only the task's columns.

    Args:
        labelled: whether all rows must have a label; otherwise -1 marks a row without a label.

    Raises:
        UserError: the split has no rows, inputs have the wrong type, values are missing, or labels are out of range.
    """
    dataset, origin = split
    if not len(dataset):
        raise UserError(f"{origin}: no rows")
    dataset = dataset.select_columns([*config.inputs, config.label])
    check_inputs(split, config)
    _check_labels(labels_of(dataset, config), config, origin, labelled)
    return dataset


def check_inputs(split: Split, config: TaskConfig) -> None:
    """Refuse input columns whose type does not fit the task's kind, and missing values."""
    for name in config.inputs:
        _check_input(split.dataset, name, config, split.origin)


def check_scored(split: Dataset, origin: str, config: TaskConfig) -> None:
    """Refuse to score a split in which no row has a label, such as the test splits of GLUE."""
    labels = labels_of(split, config)
    if (labels == NO_LABEL).all():
        raise UserError(f"{origin}: no row has a label (all are -1): name another split by task.eval_split")


def labels_of(dataset: Dataset, config: TaskConfig) -> np.ndarray:
    """Return the labels, (rows,), without decoding the inputs."""
    return np.asarray(dataset.select_columns(config.label)[:][config.label])


def _check_columns(config: TaskConfig) -> None:
    """Refuse inputs that a model would ignore or misread: a wrong number of columns, or a column named twice."""
    inputs, most = list(config.inputs), 1 if config.kind == "image" else 2
    if not 1 <= len(inputs) <= most:
        given = f"task.inputs=[{','.join(inputs)}] of {config.name} is not possible"
        wanted = "one column of images" if most == 1 else "one column of texts, or two as a pair"
        raise UserError(f"{given}: give {wanted}" + ("; join further ones in the data" if len(inputs) > most else ""))
    if len({*inputs, config.label}) <= len(inputs):
        raise UserError(
            f"task.inputs=[{','.join(inputs)}] and task.label={config.label} name a column twice: give different ones"
        )


def _check_label_names(config: TaskConfig) -> None:
    names = config.label_names
    if names is None:
        return
    if wrong := [name for name in names if not isinstance(name, str) and type(name) is not int]:
        raise UserError(
            f"task.label_names holds {wrong[0]!r}, which is no text (YAML reads no, yes, off, on, null and 1.0 as "
            "something else): put the names in quotes"
        )
    texts = [str(name) for name in names]
    if not 2 <= len(set(texts)) == len(texts):
        raise UserError(f"task.label_names={','.join(texts)} is not possible: two different ones at least")


def _check_input(dataset: Dataset, name: str, config: TaskConfig, origin: str) -> None:
    if dataset.data.column(name).null_count:
        row = dataset.data.column(name).is_null().index(True).as_py()
        raise UserError(f"{origin}: column {name} has missing values, the first in row {row} (from 0)")
    feature = dataset.features[name]
    if config.kind == "image":
        fits, wanted = isinstance(feature, Image), "images (cast_column to the Image feature of datasets writes them)"
    else:
        fits, wanted = getattr(feature, "dtype", None) in ("string", "large_string"), "strings"
    if not fits:
        raise UserError(f"{origin}: column {name} must hold {wanted}, found {feature}")


def _check_labels(labels: np.ndarray, config: TaskConfig, origin: str, labelled: bool) -> None:
    if config.num_labels == 1:
        if labels.dtype.kind not in "iuf" or not (np.abs(labels) <= np.finfo(np.float32).max).all():
            raise UserError(f"{origin}: column {config.label} must hold finite numbers (of 32 bits)")
        return
    if labels.dtype.kind not in "iu":
        other = next(label for label in labels.tolist() if type(label) is not int)
        raise UserError(f"{origin}: column {config.label} must hold whole numbers, found for instance {other!r}")
    lowest = 0 if labelled else NO_LABEL
    outside = np.unique(labels[(labels < lowest) | (labels >= config.num_labels)]).tolist()
    if outside:
        unlabelled = " (-1 marks a row without a label: leave it out)" if NO_LABEL in outside else ""
        some = ", ".join(map(str, outside[:5])) + (", ..." if len(outside) > 5 else "")
        raise UserError(f"{origin}: labels {some} are outside 0..{config.num_labels - 1}{unlabelled}")
