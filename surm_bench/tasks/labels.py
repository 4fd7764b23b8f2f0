"""Labels that are strings, as CSV has them all: numbers that are written out, or names of classes."""

from collections.abc import Sequence
from contextlib import suppress

from datasets import ClassLabel, Dataset, Value

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError


def names_of(train: Dataset, config: TaskConfig) -> list[str] | None:
    """The names of the classes in alphabetical order, a class's number being its place; None where labels are numbers.

    Args:
        train: the training split: a name that only another one has is unknown.
    """
    if config.num_labels == 1 or not has_strings(train, config.label):
        return None
    found = set(train.unique(config.label)) - {None, ""}
    with suppress(ValueError):
        for value in found:
            int(value)
        return None
    return sorted(found)


def has_strings(dataset: Dataset, column: str) -> bool:
    """Whether a column is there and holds strings."""
    return column in dataset.column_names and getattr(dataset.features[column], "dtype", None) in (
        "string",
        "large_string",
    )


def encoded(dataset: Dataset, origin: str, names: Sequence[str] | None, config: TaskConfig) -> Dataset:
    """The split with numbers for labels: the places of their names, or without names the numbers that they spell.

    Args:
        origin: of the split, for messages.

    Raises:
        UserError: a label is missing, is not among the names, or is no number; the message says where and which.
    """
    if not has_strings(dataset, config.label):
        return dataset
    number, kind = (float, "float64") if config.num_labels == 1 else (int, "int64")
    places = names and {name: place for place, name in enumerate(names)}

    def encode(value: str | None) -> float:
        if value in (None, ""):
            raise UserError(f"{origin}: column {config.label} has rows without a label")
        if places and value not in places:
            raise UserError(
                f"{origin}: column {config.label} has the label {value!r}, the classes are {', '.join(names)}"
            )
        try:
            return places[value] if places else number(value)
        except ValueError:
            raise UserError(f"{origin}: column {config.label} must hold numbers, found {value!r}") from None

    values = dataset.select_columns(config.label)[:][config.label]  # without decoding images
    labels = [encode(value) for value in values]
    feature = ClassLabel(names=list(names)) if names else Value(kind)
    return dataset.remove_columns(config.label).add_column(config.label, labels, feature=feature)
