"""One numbering of classes for all splits, however each split stores its labels.

A split stores labels as numbers, as names (strings, or numbers that serve as names), or as ClassLabel codes with the
names in its metadata.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from datasets import ClassLabel, Dataset, LargeList, List, Value

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError
from surm_bench.tasks.notices import tell

NO_LABEL = -1


class Split(NamedTuple):
    """The rows of a split as read, and their origin for error messages."""

    dataset: Dataset
    origin: str


class Numbering(NamedTuple):
    """How labels map to class numbers.

    Attributes:
        names: the names of the classes in order; None: labels are numbers.
        written: whether rows hold the names themselves; otherwise a number in a row is a class number.
    """

    names: list[str] | None
    written: bool


def names_of(train: Dataset, config: TaskConfig) -> list[str] | None:
    """Return the names of the classes, or None if labels are numbers. A class's number is its index in the list.

    Names found in rows are sorted; names of a ClassLabel keep their order.

    Args:
        train: the training split; names that occur only in other splits count as unknown.

    Raises:
        UserError: -1 occurs among the names.
    """
    if config.is_regression:
        return None
    if stored := _stored_names(train, config):
        return stored if not are_numbers(stored) and config.num_labels in (None, len(stored)) else None
    if not has_strings(train, config.label):
        return None
    names = {name for name in train.unique(config.label) if _text(name) is not None}
    if _are_whole(names):
        return None
    if str(NO_LABEL) in map(str.strip, names):
        raise UserError(
            f"column {config.label} of {config.name} has the label -1, which marks a row without a label, among names "
            "of classes: leave these rows out, or list all classes in task.label_names"
        )
    return sorted(names)


def reconciled(splits: Sequence[Split], config: TaskConfig) -> list[Split]:
    """Return the splits with class numbers as labels, one number for each class in all splits; -1 means no label.

    Args:
        splits: the training split first, because it defines the names of the classes.

    Raises:
        UserError: a label is a list, is missing in the training split, is not among the names, or is not a number; the
            message names the split and the label.
    """
    for split in splits:
        if isinstance(split.dataset.features[config.label], List | LargeList):
            example = split.dataset.select_columns(config.label)[0][config.label] if len(split.dataset) else []
            raise UserError(
                f"{split.origin}: column {config.label} holds lists such as {example}: give one label for each row; "
                "tasks with several labels a row are not supported"
            )
    if config.is_regression:
        return [_with_labels(split, config, _values_of_regression(split, config), Value("float64")) for split in splits]
    numbering = _numbering(splits[0], config)
    return [_numbered(split, numbering, config, train=split is splits[0]) for split in splits]


def _numbering(train: Split, config: TaskConfig) -> Numbering:
    given = config.label_names and [str(name) for name in config.label_names]
    if stored := _stored_names(train.dataset, config):
        return Numbering(_ordered(stored, given, train.origin), written=False)
    if given is None:
        return Numbering(None, written=False)
    texts = {_named(_text(value), given) for value in stored_labels(train.dataset, config)} - {None}
    by_name = texts <= set(given) or not _are_whole(texts)
    return Numbering(given if by_name else None, written=by_name)


def _ordered(stored: list[str], given: list[str] | None, origin: str) -> list[str]:
    """Return the names of a ClassLabel in the order of task.label_names.

    Given names that have nothing in common with the stored names are other words for the same numbers.

    Raises:
        UserError: some names are the same, or are the same except for case or blanks, but not all.
    """
    if given is None or set(stored) <= set(given):
        return given or stored
    if {*folded(stored)} & {*folded(given)}:
        raise UserError(
            f"{origin} names its classes {', '.join(stored)}, but task.label_names are {', '.join(given)}: "
            "write the same names in the same way, in any order"
        )
    if not are_numbers(stored):
        pairs = zip(stored, given, strict=False)
        tell(f"{origin}: task.label_names renames classes: {', '.join(f'{old} is {new}' for old, new in pairs)}")
    return stored


def _numbered(split: Split, numbering: Numbering, config: TaskConfig, train: bool) -> Split:
    names, stored = numbering.names, _stored_names(split.dataset, config)
    if stored and names in (None, stored):
        return split
    values = stored_labels(split.dataset, config)
    if stored:
        values = _names_of_codes(values, stored, f"{split.origin}: column {config.label}")
    texts = {_named(_text(value), names) for value in values} - {None, str(NO_LABEL)}
    if has_strings(split.dataset, config.label):
        by_name = names is not None and (numbering.written or texts <= set(names) or not _are_whole(texts))
    else:
        by_name = names is not None and (numbering.written or stored is not None)
    if names and not numbering.written and not stored:
        _check_unstored(texts, names, split.origin)
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
            raise UserError(f"{where} has the label {text!r}, but {classes_are(names, text)}")
        if not isinstance(value, str):
            return int(text) if isinstance(value, float) and _are_whole([text]) else value
        if not _are_whole([text]):
            needed = "names of classes need task.label_names" if train else "the training split has numbers"
            raise UserError(f"{where} must hold numbers, but holds {text!r}; {needed}")
        if abs(_whole(text)) >= 2**63:
            raise UserError(f"{where} has the label {text}: classes are numbered from 0")
        return _whole(text)

    numbers = [number(value) for value in values]
    if any(type(value) is not int for value in numbers):
        return split  # surm_bench.tasks.check refuses these labels
    return _with_labels(split, config, numbers, ClassLabel(names=names) if by_name else Value("int64"))


def _check_unstored(texts: Iterable[str], names: list[str], origin: str) -> None:
    """Refuse whole numbers beside a ClassLabel with names such as 1, 2, 3: a 1 may be a name or the number of 2."""
    if texts and _are_whole(texts) and _are_whole(names) and not are_numbers(names):
        raise UserError(
            f"{origin} holds numbers, which may be names or numbers of the classes {', '.join(names)} of the training "
            "split: store the labels of all splits in the same way"
        )


def check_classes(names: Sequence[str], config: TaskConfig) -> None:
    """Raise UserError if there is only one class, or if two names look alike and so probably mean one class.

    Log a notice if names that were found in the data differ only in case.
    """
    if len(names) < 2:
        raise UserError(f"task {config.name} has one class, {', '.join(names)}: the training split needs at least two")
    looks: dict[str, str] = {}
    for name in names:
        if (other := looks.setdefault(_look(name), name)) != name:
            raise UserError(
                f"task {config.name} has the classes {other!a} and {name!a}, which differ only in blanks or "
                "invisible characters: give both the same name"
            )
    count = Counter(folded(names))
    alike = [name for name, look in zip(names, folded(names), strict=True) if count[look] > 1]
    if alike and config.label_names is None:
        tell(
            f"task {config.name} has classes that differ only in case, {', '.join(alike)}: give both the same name, or "
            "list all classes in task.label_names if they differ"
        )


def classes_are(names: Sequence[str], stranger: str) -> str:
    """Return the part of an error message that lists the classes, and the class that an unknown name looks like."""
    twin = next((name for name in names if _look(name).casefold() == _look(stranger).casefold()), None)
    alike = f": {stranger!a} is not written like {twin!a}, give both the same name" if twin else ""
    return f"the classes are {', '.join(names)}{alike}"


def are_numbers(names: Sequence[str] | None) -> bool:
    """Return whether names only repeat the numbers of the classes: "0", "1", "2", ..."""
    return names == [str(number) for number in range(len(names or ()))]


def folded(names: Iterable[str]) -> list[str]:
    """Return names without differences that are easily overlooked: case, blanks, invisible marks, composed accents."""
    return [_look(name).casefold() for name in names]


def _look(name: str) -> str:
    """Normalise invisible differences of a name: kind and number of blanks, zero-width marks, composed accents."""
    seen = "".join(mark for mark in name if unicodedata.category(mark) != "Cf")  # format marks, as U+200B and U+FEFF
    return " ".join(unicodedata.normalize("NFC", seen).split())


def _names_of_codes(codes: Sequence[int | None], names: Sequence[str], where: str) -> list:
    """Replace the codes of a ClassLabel by their names; rows without a label stay unchanged."""
    if wrong := [code for code in codes if code not in (None, NO_LABEL) and not 0 <= code < len(names)]:
        raise UserError(f"{where} holds {wrong[0]}, outside 0..{len(names) - 1}, the numbers of {', '.join(names)}")
    return [code if code in (None, NO_LABEL) else names[code] for code in codes]


def _values_of_regression(split: Split, config: TaskConfig) -> list[float] | None:
    """Parse a column of strings as numbers; return None if the column does not hold strings."""
    where = f"{split.origin}: column {config.label}"
    if stored := _stored_names(split.dataset, config):
        raise UserError(f"{where} holds classes ({', '.join(stored)}), but a regression needs numbers: store numbers")
    if not has_strings(split.dataset, config.label):
        return None
    values = stored_labels(split.dataset, config)
    if None in values or "" in values:
        raise UserError(f"{where} has rows without a label")
    if wrong := [value for value in values if not _is_number(value)]:
        raise UserError(f"{where} must hold numbers, but holds {wrong[0]!r}")
    return [float(value) for value in values]


def _with_labels(split: Split, config: TaskConfig, labels: list | None, feature: Value | ClassLabel) -> Split:
    if labels is None:
        return split
    dataset = split.dataset.remove_columns(config.label).add_column(config.label, labels, feature=feature)
    return Split(dataset, split.origin)


def stored_labels(dataset: Dataset, config: TaskConfig) -> list:
    """Return the labels as stored, without decoding the inputs."""
    return dataset.select_columns(config.label)[:][config.label]


def _text(value: object) -> str | None:
    """Return a label as text, or None if it is missing. A whole float is written as an integer: 1.0 becomes 1."""
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _named(text: str | None, names: Sequence[str] | None) -> str | None:
    """Return the class name of a text. A name that is a number may also be written `` 1`` or ``1.0``, as in CSV."""
    if text is None or not names or text in names or not _are_whole([text]):
        return text
    short = str(_whole(text))
    return short if short in names else text


def _are_whole(texts: Iterable[str]) -> bool:
    """Return whether all texts are whole numbers; 1.0 counts, 1_0 does not (int() would read 10)."""
    return all(re.fullmatch(r"\s*[+-]?[0-9]+(\.0*)?\s*", text) for text in texts)


def _whole(text: str) -> int:
    """Return the number that a text accepted by _are_whole spells, exactly; a float would keep only 53 bits."""
    return int(text.partition(".")[0])


def _is_number(text: str) -> bool:
    with suppress(ValueError):
        float(text)
        return "_" not in text  # float() would read 1_0 as 10
    return False


def _stored_names(dataset: Dataset, config: TaskConfig) -> list[str] | None:
    return getattr(dataset.features[config.label], "names", None)


def has_strings(dataset: Dataset, column: str) -> bool:
    """Return whether a column holds strings."""
    return getattr(dataset.features[column], "dtype", None) in ("string", "large_string")
