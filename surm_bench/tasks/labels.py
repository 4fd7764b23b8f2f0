"""One numbering of classes for all splits: labels by name, in whatever a split writes them, become the same numbers.

A split holds numbers, names (strings, or numbers that are names), or ClassLabel codes, whose names are in its metadata.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from datasets import ClassLabel, Dataset, LargeList, List, Value

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError

NO_LABEL = -1


class Split(NamedTuple):
    """A split as it was read, and where from, for error messages."""

    dataset: Dataset
    origin: str


class Numbering(NamedTuple):
    """What a label stands for.

    Attributes:
        names: of the classes in order; None: labels are numbers.
        written: whether rows hold the names themselves; otherwise a row that holds a number holds a class's number.
    """

    names: list[str] | None
    written: bool


def names_of(train: Dataset, config: TaskConfig) -> list[str] | None:
    """The names of the classes, a class's number being its place; None where labels are numbers.

    Names that rows hold are sorted; those of a ClassLabel have its order.

    Args:
        train: the training split: a name that only another one has is unknown.
    """
    if config.num_labels == 1:
        return None
    if stored := _stored_names(train, config):
        numbers = [str(number) for number in range(len(stored))]
        return stored if stored != numbers and config.num_labels in (None, len(stored)) else None
    if not _has_strings(train, config.label):
        return None
    found = {name for name in train.unique(config.label) if _text(name) is not None}
    return None if _are_whole(found) else sorted(found)


def reconciled(splits: Sequence[Split], config: TaskConfig) -> list[Split]:
    """The splits with numbers for labels, the same number for the same class; -1 where a row has no label.

    Args:
        splits: the training split first: it decides which names there are.

    Raises:
        UserError: a label is a list, is missing in the training split, is not among the names, or is no number; the
            message says where and which.
    """
    for split in splits:
        if isinstance(split.dataset.features[config.label], List | LargeList):
            example = split.dataset.select_columns(config.label)[0][config.label] if len(split.dataset) else []
            raise UserError(
                f"{split.origin}: column {config.label} holds lists, as {example}: a row has one label, tasks with "
                "several labels a row are not supported"
            )
    if config.num_labels == 1:
        return [_with_labels(split, config, _values_of_regression(split, config), Value("float64")) for split in splits]
    numbering = _numbering(splits[0], config)
    return [_numbered(split, numbering, config, train=split is splits[0]) for split in splits]


def _numbering(train: Split, config: TaskConfig) -> Numbering:
    given = config.label_names and [str(name) for name in config.label_names]
    stored = _stored_names(train.dataset, config)
    if stored:
        if given and set(stored) <= set(given):
            return Numbering(given, written=False)
        if given and set(stored) & set(given):
            raise UserError(
                f"{train.origin} names its classes {', '.join(stored)}, task.label_names are {', '.join(given)}: give "
                "the same names, in any order"
            )
        return Numbering(stored, written=False)  # names that are given are other words for the same numbers
    if given is None:
        names = None if config.data_dir is None else names_of(train.dataset, config)
        return Numbering(names, written=names is not None)
    found = {_named(_text(value), given) for value in _values(train, config)} - {None}
    by_name = found <= set(given) or not _are_whole(found)
    return Numbering(given if by_name else None, written=by_name)


def _numbered(split: Split, numbering: Numbering, config: TaskConfig, train: bool) -> Split:
    names, stored = numbering.names, _stored_names(split.dataset, config)
    if stored and names in (None, stored):
        return split
    values = _values(split, config)
    if stored:
        values = _names_of_codes(values, stored, f"{split.origin}: column {config.label}")
    texts = {_named(_text(value), names) for value in values} - {None, str(NO_LABEL)}
    if _has_strings(split.dataset, config.label):
        by_name = names is not None and (numbering.written or texts <= set(names) or not _are_whole(texts))
    else:
        by_name = names is not None and (numbering.written or stored is not None)
    if not by_name and all(type(value) is int for value in values):
        return split
    where = f"{split.origin}: column {config.label}"

    def number(value: object) -> object:
        text = _named(_text(value), names)
        if text is None and train:
            raise UserError(f"{where} has rows without a label")
        if by_name and text in names:
            return names.index(text)
        if text in (None, str(NO_LABEL)):
            return NO_LABEL
        if by_name:
            raise UserError(f"{where} has the label {text!r}, {classes_are(names, text)}")
        if not isinstance(value, str):
            return int(text) if isinstance(value, float) and _are_whole([text]) else value
        if not _are_whole([text]):
            needed = "names of classes need task.label_names" if train else "the training split has numbers"
            raise UserError(f"{where} must hold numbers, found {text!r}; {needed}")
        if abs(_whole(text)) >= 2**63:
            raise UserError(f"{where} has the label {text}: classes are numbered from 0")
        return _whole(text)

    numbers = [number(value) for value in values]
    if any(type(value) is not int for value in numbers):
        return split  # refused by surm_bench.tasks.check
    return _with_labels(split, config, numbers, ClassLabel(names=names) if by_name else Value("int64"))


def check_classes(names: Sequence[str], config: TaskConfig) -> None:
    """Refuse a single class, and two that look alike, which were meant as one; raises UserError."""
    if len(names) < 2:
        raise UserError(f"task {config.name} has one class, {', '.join(names)}: the training split needs two at least")
    looks: dict[str, str] = {}
    for name in names:
        if (other := looks.setdefault(_look(name), name)) != name:
            raise UserError(
                f"task {config.name} has the classes {other!a} and {name!a}, which differ in blanks or in marks "
                "that are not seen: give both one name"
            )


def classes_are(names: Sequence[str], stranger: str) -> str:
    """Name the classes for a message about one that is unknown, and the one that it looks like."""
    twin = next((name for name in names if _look(name).casefold() == _look(stranger).casefold()), None)
    alike = f": {stranger!a} is written otherwise than {twin!a}, give both one name" if twin else ""
    return f"the classes are {', '.join(names)}{alike}"


def _look(name: str) -> str:
    """A name without what the eye does not see: the kind and number of blanks, marks of no width, composed accents."""
    seen = "".join(mark for mark in name if unicodedata.category(mark) != "Cf")  # of format, as U+200B and U+FEFF
    return " ".join(unicodedata.normalize("NFC", seen).split())


def _names_of_codes(codes: Sequence[int | None], names: Sequence[str], where: str) -> list:
    """The names that codes of a ClassLabel stand for; rows without a label stay as they are."""
    if wrong := [code for code in codes if code not in (None, NO_LABEL) and not 0 <= code < len(names)]:
        raise UserError(f"{where} holds {wrong[0]}, outside 0..{len(names) - 1} of its names {', '.join(names)}")
    return [code if code in (None, NO_LABEL) else names[code] for code in codes]


def _values_of_regression(split: Split, config: TaskConfig) -> list[float] | None:
    """The numbers that strings spell; None where the column holds no strings."""
    where = f"{split.origin}: column {config.label}"
    if stored := _stored_names(split.dataset, config):
        raise UserError(f"{where} holds classes ({', '.join(stored)}) and a regression needs numbers: store the values")
    if not _has_strings(split.dataset, config.label):
        return None
    values = _values(split, config)
    if None in values or "" in values:
        raise UserError(f"{where} has rows without a label")
    if wrong := [value for value in values if not _is_number(value)]:
        raise UserError(f"{where} must hold numbers, found {wrong[0]!r}")
    return [float(value) for value in values]


def _with_labels(split: Split, config: TaskConfig, labels: list | None, feature: Value | ClassLabel) -> Split:
    if labels is None:
        return split
    dataset = split.dataset.remove_columns(config.label).add_column(config.label, labels, feature=feature)
    return Split(dataset, split.origin)


def _values(split: Split, config: TaskConfig) -> list:
    """The labels as they are stored, read without decoding the inputs."""
    return split.dataset.select_columns(config.label)[:][config.label]


def _text(value: object) -> str | None:
    """A label as a name; None where there is none. Numbers as CSV has them: 1.0 is 1."""
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _named(text: str | None, names: Sequence[str] | None) -> str | None:
    """The class that a text names: a number that is a name may be written as `` 1`` or ``1.0``, as CSV has it."""
    if text is None or not names or text in names or not _are_whole([text]):
        return text
    short = str(_whole(text))
    return short if short in names else text


def _are_whole(texts: Iterable[str]) -> bool:
    """Whether all texts are whole numbers, also written as 1.0; int() alone takes 1_0 for 10."""
    return all(re.fullmatch(r"\s*[+-]?[0-9]+(\.0*)?\s*", text) for text in texts)


def _whole(text: str) -> int:
    """The number that a text spells (_are_whole); exact, where a float has 53 bits."""
    return int(text.partition(".")[0])


def _is_number(text: str) -> bool:
    with suppress(ValueError):
        float(text)
        return "_" not in text  # float() takes 1_0 for 10
    return False


def _stored_names(dataset: Dataset, config: TaskConfig) -> list[str] | None:
    return getattr(dataset.features[config.label], "names", None)


def _has_strings(dataset: Dataset, column: str) -> bool:
    return getattr(dataset.features[column], "dtype", None) in ("string", "large_string")
