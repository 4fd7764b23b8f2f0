"""Reader of local tables for training and prediction: parquet, CSV and TSV with a header, and JSON Lines."""

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

QUOTE = 'write a field that begins with a quotation mark in quotation marks, and double those in it ("""So"" it began")'


class Line(NamedTuple):
    """A row of a text file.

    Attributes:
        number: the number of the line where the row begins, from 1.
        place: the number of the row, from 0; blank lines count as rows.
        fields: the values by column name.
    """

    number: int
    place: int
    fields: dict[str, Any]


class FileRows(NamedTuple):
    """The wanted columns of a table, and the number of each row in the file, from 0; blank lines count as rows."""

    rows: Dataset
    places: list[int]


def find_table(folder: Path, split: str) -> Path:
    """Return the existing file of a split whose ending comes first in ENDINGS; if none exists, the .parquet path."""
    files = [folder / f"{split}{ending}" for ending in ENDINGS]
    existing = [file for file in files if file.is_file()]
    if len(existing) > 1:
        others = ", ".join(file.name for file in existing[1:])
        tell(f"{existing[0]} is read, but not {others} beside it: remove the files that should not be read")
    return [*existing, files[0]][0]


def read_table(file: Path, wanted: Sequence[str], rename: dict[str, str]) -> FileRows:
    """Read the wanted columns into memory (load_dataset would copy them to a cache first). CSV values are strings.

    Args:
        wanted: the names of the columns after renaming.
        rename: columns of the file -> their new names.

    Raises:
        UserError: the file cannot be read, the fields of a row differ from the header or the first row, a column is
            missing or occurs twice, or a column mixes types.
    """
    kind = file.suffix.lower()
    if kind == ".parquet":
        return _read_parquet(file, wanted, rename)
    names, lines = TEXTS[kind](file)
    if not lines:
        raise UserError(f"{file} has no rows")
    columns = columns_of(names, wanted, rename, str(file))
    arrays = {new: _array(file, old, lines) for new, old in columns.items()}
    return FileRows(Dataset(pyarrow.table(arrays)), [line.place for line in lines])


def columns_of(names: Sequence[str], wanted: Sequence[str], rename: dict[str, str], origin: str) -> dict[str, str]:
    """Return the source's column name for each wanted column.

    Raises:
        UserError: a wanted column is missing or occurs twice, or a new name is already the name of another column.
    """
    renamed = {old: new for old, new in rename.items() if old in names}
    if taken := {*renamed.values()} & {*names} - {*renamed}:
        raise UserError(f"task.rename gives a column of {origin} the name of another column, {', '.join(taken)}")
    pairs = [(renamed.get(old, old), old) for old in names]
    if missing := [name for name in wanted if name not in dict(pairs)]:
        whole = len(names) == 1 and any(mark in names[0] for mark in ",;|\t")
        divided = " as one column: separate fields by commas in .csv and by tabs in .tsv" if whole else ""
        raise UserError(f"{origin} has no column {', '.join(missing)}; it has {', '.join(map(_shown, names))}{divided}")
    for name in wanted:
        if sum(new == name for new, _ in pairs) > 1:
            raise UserError(f"{origin} has the column {name} twice: name each column differently")
    return {name: dict(pairs)[name] for name in wanted}


def _shown(name: str) -> str:
    """Return a name for a message, quoted if it contains invisible characters."""
    return name if name.isprintable() and name == name.strip() else ascii(name)


def _read_parquet(file: Path, wanted: Sequence[str], rename: dict[str, str]) -> FileRows:
    try:
        names = pyarrow.parquet.read_schema(file).names
        columns = columns_of(names, wanted, rename, str(file))
        table = pyarrow.parquet.read_table(file, columns=list(columns.values()))
        table.validate(full=True)  # otherwise invalid text fails only when it is used
        rows = Dataset(_plain(table)).select_columns(list(columns.values()))
    except UserError:
        raise
    except Exception as error:  # a damaged file makes pyarrow and datasets raise many types
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{file} is not a readable parquet file ({reason}): write or download it again") from error
    rows = rows.rename_columns({old: new for new, old in columns.items() if old != new})
    return FileRows(rows, list(range(len(rows))))


def _plain(table: pyarrow.Table) -> pyarrow.Table:
    """Return the table with dictionary-encoded columns (such as categories of pandas) decoded to their values."""
    for place, column in enumerate(table.schema):
        if pyarrow.types.is_dictionary(column.type):
            values = table.column(place).cast(column.type.value_type)
            table = table.set_column(place, column.with_type(column.type.value_type), values)
    return table


def _delimited(file: Path, delimiter: str) -> tuple[list[str], list[Line]]:
    """Return the header and the rows of CSV or TSV, quoted as in RFC 4180. Blank lines are skipped.

    A field of TSV that holds a tab and a line break is refused: it probably begins with a quotation mark of the text,
    and the rows up to the next such mark are in it.
    """
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(StringIO(_text(file), newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    lines: list[Line] = []
    begin, place = 1, -1
    try:
        for fields in reader:
            number, begin = begin, reader.line_num + 1
            if delimiter == "\t" and any("\t" in field and "\n" in field for field in fields):
                raise UserError(f"{file}: lines {number} to {reader.line_num} are one row: {QUOTE}")
            if not header:
                header = fields
                continue
            place += 1
            if fields and len(fields) != len(header):
                raise UserError(
                    f"{file}, line {number} has {len(fields)} fields, but the header has {len(header)} columns: put a "
                    f"field that holds {delimiter!r} in quotation marks"
                )
            if fields:
                lines.append(Line(number, place, dict(zip(header, fields, strict=True))))
    except csv.Error as error:
        raise UserError(f"{file}, line {begin}: {error}: {QUOTE}") from error
    if not header:
        raise UserError(f"{file} is empty: the first line must name the columns")
    return header, lines


def _json_lines(file: Path) -> tuple[list[str], list[Line]]:
    """Return the column names in order of first appearance, and the rows. Blank lines are skipped."""
    lines = []
    for place, text in enumerate(_text(file).split("\n")):
        if text.strip():
            lines.append(Line(place + 1, place, _json_object(text, f"{file}, line {place + 1}")))
    return list(dict.fromkeys(name for line in lines for name in line.fields)), lines


def _json_object(text: str, origin: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            raise ValueError("a name occurs twice")
        return fields

    try:
        fields = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{origin} is not a JSON object: {error}") from error
    if not isinstance(fields, dict):
        raise UserError(f"{origin} is not a JSON object: write each line as {{column: value, ...}}")
    return fields


def _text(file: Path) -> str:
    """Read the text of a UTF-8 file, with or without a byte order mark."""
    try:
        content = file.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{file}, line {number} is not in UTF-8: save the file in UTF-8") from error
    if "\0" in text:
        raise UserError(f"{file} holds zero bytes, as UTF-16 does: save the file in UTF-8")
    return text


def _array(file: Path, column: str, lines: list[Line]) -> pyarrow.Array:
    """Return a column as an arrow array; raise UserError with the line of the first value of a different type."""
    for line in lines:
        if column not in line.fields:
            raise UserError(f"{file}, line {line.number} has no field {column}")
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
    """Yield the line numbers and values whose type does not fit the first value of the column."""
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
