"""Refuse splits that do not match the configuration of the task, before any expensive work."""

import numpy as np
from datasets import Dataset, Image
from pyarrow import compute

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError
from surm_bench.tasks.labels import NO_LABEL, Split, has_strings, stored_labels
from surm_bench.tasks.notices import tell


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
    """Refuse missing values and columns whose type does not fit the task's kind; log how many texts are blank."""
    dataset, origin = split
    for name in config.inputs:
        if dataset.data.column(name).null_count:
            row = dataset.data.column(name).is_null().index(True).as_py()
            raise UserError(f"{origin}: column {name} has missing values, the first in row {row} (from 0)")
        feature = dataset.features[name]
        if config.kind == "image":
            fits, wanted = isinstance(feature, Image), "images (cast_column it to the Image feature of datasets)"
        else:
            fits, wanted = has_strings(dataset, name), "strings"
        if not fits:
            raise UserError(f"{origin}: column {name} must hold {wanted}, but holds {feature}")
        if config.kind == "text":
            _tell_blank(dataset, name, origin)


def _tell_blank(dataset: Dataset, name: str, origin: str) -> None:
    """Log the number of blank texts: in CSV and TSV a missing text is a blank one."""
    blank = compute.sum(compute.equal(compute.utf8_trim_whitespace(dataset.data.column(name)), "")).as_py()
    if blank:
        tell(f"{origin}: column {name} is blank in {blank:,} of {len(dataset):,} rows")


def check_scored(split: Dataset, origin: str, config: TaskConfig) -> None:
    """Refuse to score a split in which no row has a label, such as the test splits of GLUE."""
    labels = labels_of(split, config)
    if (labels == NO_LABEL).all():
        raise UserError(f"{origin}: no row has a label (all are -1): name another split with task.eval_split")


def labels_of(dataset: Dataset, config: TaskConfig) -> np.ndarray:
    """Return the labels, (rows,), without decoding the inputs."""
    return np.asarray(stored_labels(dataset, config))


def _check_labels(labels: np.ndarray, config: TaskConfig, origin: str, labelled: bool) -> None:
    if config.is_regression:
        if labels.dtype.kind not in "iuf" or not (np.abs(labels) <= np.finfo(np.float32).max).all():
            raise UserError(f"{origin}: column {config.label} must hold finite numbers (of 32 bits)")
        return
    if labels.dtype.kind not in "iu":
        other = next(label for label in labels.tolist() if type(label) is not int)
        raise UserError(f"{origin}: column {config.label} must hold whole numbers, but holds for instance {other!r}")
    lowest = 0 if labelled else NO_LABEL
    outside = np.unique(labels[(labels < lowest) | (labels >= config.num_labels)]).tolist()
    if outside:
        unlabelled = " (-1 marks a row without a label: leave it out)" if NO_LABEL in outside else ""
        some = ", ".join(map(str, outside[:5])) + (", ..." if len(outside) > 5 else "")
        raise UserError(f"{origin}: labels {some} are outside 0..{config.num_labels - 1}{unlabelled}")
