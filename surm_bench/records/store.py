"""Read and write the JSON record of a run, ``results_dir/runs/<run_id>/record.json``. No torch here.

A record is written completely or not at all. It contains a checksum of its content and digests of the files beside it.
"""

import hashlib
import json
import math
import tempfile
from pathlib import Path
from typing import Any

from surm_bench.errors import UserError
from surm_bench.records.record import Record
from surm_bench.system.atomic import atomic

SCHEMA_VERSION = 2
RECORD_FILE = "record.json"


class Damaged(UserError):
    """A record, or a file beside it, was damaged or changed after it was written."""


def run_folder(results_dir: str | Path, run_id: str) -> Path:
    """Return the folder of a run's record, adapter and head, predictions and training state."""
    return Path(results_dir) / "runs" / run_id


def check_writable(results_dir: str | Path) -> None:
    """Raise UserError if no record can be written in results_dir. Call this before anything expensive."""
    runs = Path(results_dir) / "runs"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs):
            pass
    except OSError as error:
        reason = f"cannot write to results_dir {str(results_dir)!r}: {error.strerror or error}"
        raise UserError(f"{reason}; name another folder") from error


def write(record: Record, results_dir: str | Path) -> Record:
    """Write the record of a run and return it as written. NaN and infinities become null."""
    sealed = seal(record.document())
    with atomic(run_folder(results_dir, record.run_id) / RECORD_FILE) as temporary:
        temporary.write_text(json.dumps(sealed, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return Record.of_document(sealed)


def read_file(path: str | Path) -> Record:
    """Read one record.

    Raises:
        UserError: the record is missing or has another schema version.
        Damaged: the record is truncated, or was changed after it was written.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Damaged(f"unreadable record {path}: {error}") from error
    except OSError as error:
        raise UserError(f"unreadable record {path}: {error.strerror}") from error
    return parse(text, str(path))


def read_folder(folder: Path) -> Record | None:
    """Read the record in a run's folder; None if there is no record.

    Raises:
        UserError, Damaged: as in read_file; Damaged also if the folder is a copy of another run's folder.
    """
    if not (folder / RECORD_FILE).is_file():
        return None
    record = read_file(folder / RECORD_FILE)
    if folder.name != record.run_id:
        file = folder / RECORD_FILE
        raise Damaged(f"{file} is the record of run {record.run_id}, but lies in the folder of another run")
    return record


def parse(text: str, place: str) -> Record:
    """Parse a record from its JSON text. Raises the errors of read_file, with ``place`` as the name of the record."""
    try:
        record = json.loads(text)
        checksum = _checksum(record) if isinstance(record, dict) else None
    except (ValueError, RecursionError) as error:  # also numbers that are not finite, such as 1e999
        raise Damaged(f"unreadable record {place}: {error}") from error
    version = record.get("schema_version") if isinstance(record, dict) else None
    if version is None:
        raise Damaged(f"unreadable record {place}: schema_version is missing")
    if version != SCHEMA_VERSION:
        raise UserError(f"record {place} has schema_version {version!r}: this surm-bench reads {SCHEMA_VERSION}")
    if record.get("checksum") != checksum:
        raise Damaged(f"record {place} was changed after it was written: its checksum does not fit")
    return _typed(record, place)


def _typed(record: dict, place: str) -> Record:
    """Return the record with these JSON values. Raises Damaged if it lacks a part that every record has."""
    try:
        made = Record.of_document(record)
        _ = made.score, made.code.sources, made.environment.device  # what any reader of records takes for granted
        return made
    except (KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"record {place} lacks a part, or has one of another type: {error}") from error


def seal(record: dict) -> dict:
    """Convert a record's fields to JSON values, and add schema version and checksum."""
    plain = _plain({"schema_version": SCHEMA_VERSION} | record)
    return plain | {"checksum": _checksum(plain)}


def canonical_json(value: Any) -> str:
    """Return JSON in one line with sorted keys. Equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _checksum(record: dict) -> str:
    content = {key: value for key, value in record.items() if key != "checksum"}
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Convert to JSON values: numpy scalars become Python numbers, numbers that are not finite become None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
