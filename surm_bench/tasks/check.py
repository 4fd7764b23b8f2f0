"""A split is refused before anything expensive when its columns or labels are not what the task says."""

import numpy as np
from datasets import Dataset, Image

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError
from surm_bench.tasks.sources import Split


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
