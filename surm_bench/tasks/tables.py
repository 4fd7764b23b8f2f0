"""The one reader of local tables, for training and predictions: parquet, CSV and TSV with a header, JSON Lines."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import pyarrow.parquet
from datasets import Dataset

from surm_bench.errors import UserError
from surm_bench.tasks.notices import tell


class Line(NamedTuple):
    """A row of a text file.

    Attributes:
        number: of the line where the row begins, from 1.
        place: of the row among the rows, from 0; blank lines keep their place.
        fields: by the names of their columns.
    """

    number: int
    place: int
    fields: dict[str, Any]


class Table(NamedTuple):
    """The wanted columns of a table, and the place of each row in the file, from 0; blank lines keep their place."""

    rows: Dataset
    places: list[int]


def find_table(folder: Path, split: str) -> Path:
    """The file of a split, the first of ENDINGS that is there; of none the parquet file that is not."""
    files = [folder / f"{split}{ending}" for ending in ENDINGS]
    there = [file for file in files if file.is_file()]
    if len(there) > 1:
        tell(
            f"{there[0]} is read; not {', '.join(file.name for file in there[1:])} beside it: remove what is not meant"
        )
    return [*there, files[0]][0]


def read_table(file: Path, wanted: Sequence[str], rename: dict[str, str]) -> Table:
    """The wanted columns in memory (load_dataset would copy them to a cache first). All that CSV holds are strings.

    Args:
        wanted: columns, by their names after renaming.
        rename: columns of the file -> their new names.

    Raises:
        UserError: the file cannot be read, a row has other fields than the header or the first row, a column is
            missing or there twice, or holds values of several types.
    """
    kind = file.suffix.lower()
    if kind == ".parquet":
        return _read_parquet(file, wanted, rename)
    names, lines = TEXTS[kind](file)
    if not lines:
        raise UserError(f"{file}: no rows")
    columns = columns_of(names, wanted, rename, str(file))
    arrays = {new: _array(file, old, lines) for new, old in columns.items()}
    return Table(Dataset(pyarrow.table(arrays)), [line.place for line in lines])


def columns_of(names: Sequence[str], wanted: Sequence[str], rename: dict[str, str], origin: str) -> dict[str, str]:
    """The column of the source for each wanted column.

    Raises:
        UserError: a wanted column is missing or there twice, or another column has the name that a column is given.
    """
    renamed = {old: new for old, new in rename.items() if old in names}
    if taken := {*renamed.values()} & {*names} - {*renamed}:
        raise UserError(f"task.rename names a column of {origin} {', '.join(taken)}, as another one is named")
    found = [(renamed.get(old, old), old) for old in names]
    if missing := [name for name in wanted if name not in dict(found)]:
        whole = len(names) == 1 and any(mark in names[0] for mark in ",;|\t")
        divided = " as one column: commas divide the fields of .csv, tabs those of .tsv" if whole else ""
        raise UserError(f"{origin}: no column {', '.join(missing)}; found {', '.join(map(_shown, names))}{divided}")
    for name in wanted:
        if sum(new == name for new, _ in found) > 1:
            raise UserError(f"{origin}: column {name} is there twice: name each column differently")
    return {name: dict(found)[name] for name in wanted}


def _shown(name: str) -> str:
    """A name for a message; in quotes where it has what the eye does not see."""
    return name if name.isprintable() and name == name.strip() else ascii(name)


def _read_parquet(file: Path, wanted: Sequence[str], rename: dict[str, str]) -> Table:
    try:
        names = pyarrow.parquet.read_schema(file).names
        columns = columns_of(names, wanted, rename, str(file))
        table = pyarrow.parquet.read_table(file, columns=list(columns.values()))
        table.validate(full=True)  # text that is none would be found only where it is used
        rows = Dataset(_plain(table)).select_columns(list(columns.values()))
    except UserError:
        raise
    except Exception as error:  # pyarrow and datasets raise whatever a flipped byte leads them to
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{file} is not a readable parquet file ({reason}): give it anew") from error
    rows = rows.rename_columns({old: new for new, old in columns.items() if old != new})
    return Table(rows, list(range(len(rows))))


def _plain(table: pyarrow.Table) -> pyarrow.Table:
    """The table with its categories (of pandas, for instance) as the values that they stand for."""
    for place, column in enumerate(table.schema):
        if pyarrow.types.is_dictionary(column.type):
            values = table.column(place).cast(column.type.value_type)
            table = table.set_column(place, column.with_type(column.type.value_type), values)
    return table


def _delimited(file: Path, delimiter: str) -> tuple[list[str], list[Line]]:
    """The header and the rows; quotes as in RFC 4180, also in TSV. Blank lines are no rows."""
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(StringIO(_text(file), newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    lines: list[Line] = []
    begin, place = 1, -1
    try:
        for fields in reader:
            number, begin = begin, reader.line_num + 1
            if not header:
                header = fields
                continue
            place += 1
            if fields and len(fields) != len(header):
                raise UserError(
                    f"{file}, line {number} does not fit the header: fields {len(fields)}, columns {len(header)}; a "
                    f"field that holds {delimiter!r} needs quotation marks"
                )
            if fields:
                lines.append(Line(number, place, dict(zip(header, fields, strict=True))))
    except csv.Error as error:
        raise UserError(f"{file}, line {begin}: {error}: double the quotation marks within a quoted field") from error
    if not header:
        raise UserError(f"{file} is empty: the first line must name the columns")
    return header, lines


def _json_lines(file: Path) -> tuple[list[str], list[Line]]:
    """The names in the order of their first rows, and the rows. Blank lines are no rows."""
    lines = []
    for place, text in enumerate(_text(file).split("\n")):
        if text.strip():
            lines.append(Line(place + 1, place, _json_object(text, f"{file}, line {place + 1}")))
    return list(dict.fromkeys(name for line in lines for name in line.fields)), lines


def _json_object(text: str, origin: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            raise ValueError("a name is there twice")
        return fields

    try:
        fields = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{origin} is not a JSON object: {error}") from error
    if not isinstance(fields, dict):
        raise UserError(f"{origin} is not a JSON object: a line of JSON Lines is {{column: value, ...}}")
    return fields


def _text(file: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark."""
    try:
        content = file.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{file}, line {number}: not in UTF-8: save the file in UTF-8") from error
    if "\0" in text:
        raise UserError(f"{file} holds zero bytes, as UTF-16 does: save the file in UTF-8")
    return text


def _array(file: Path, column: str, lines: list[Line]) -> pyarrow.Array:
    """A column as an arrow array, or the line of the value that has another type than those before it."""
    for line in lines:
        if column not in line.fields:
            raise UserError(f"{file}, line {line.number}: no field {column}")
    values = [line.fields[column] for line in lines]
    try:
        return pyarrow.array(values)
    except (pyarrow.ArrowException, ValueError, TypeError, OverflowError) as error:
        number, value = next(_unlike(column, lines), (lines[0].number, lines[0].fields[column]))
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"{file}, line {number}: column {column} has {value!r:.60} ({reason}): give all its values one type"
        ) from error


def _unlike(column: str, lines: list[Line]) -> Iterator[tuple[int, Any]]:
    """The lines and values that cannot stand in one array with the first value of the column."""
    first = next(line.fields[column] for line in lines if line.fields[column] is not None)
    for line in lines:
        value = line.fields[column]
        try:
            pyarrow.array([first, value])
        except (pyarrow.ArrowException, ValueError, TypeError, OverflowError):
            yield line.number, value


TEXTS: dict[str, Callable[[Path], tuple[list[str], list[Line]]]] = {
    ".csv": lambda file: _delimited(file, ","),
    ".tsv": lambda file: _delimited(file, "\t"),
    ".jsonl": _json_lines,
}
ENDINGS = (".parquet", *TEXTS)
