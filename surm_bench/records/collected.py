"""Collect records to share: ``records.jsonl``, with a line for each record, and ``predictions.parquet``.

Only collect() writes these files.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from surm_bench.content.fields import fields_digest
from surm_bench.errors import UserError
from surm_bench.records.archive import COLLECTED, Archive, Disagreement, Read, authoritative, read_collected, read_runs
from surm_bench.records.files import check_files
from surm_bench.records.record import Record
from surm_bench.records.repeating import how_to_repeat
from surm_bench.records.store import canonical_json, run_folder
from surm_bench.system.atomic import atomic

if TYPE_CHECKING:  # reading records needs no pandas: its import takes half a second
    import pandas as pd

PREDICTIONS = "predictions.parquet"
DIGEST = b"surm_bench.digest"  # key of the rows' digest in the file's metadata
TEXTS = ("run_id", "record", "split")
COLUMNS = ["run_id", "record", "split", "row", "label", "prediction"]


def collect(folder: Path, others: Sequence[Path] = ()) -> tuple[int, list[str]]:
    """Write the results of all finished runs in a folder to its records.jsonl, and their predictions beside it.

    Runs of code that is not known to be committed are left out. Without a result no file is written. A lock excludes
    other collectors. The files are sorted, and are written completely or not at all.

    Args:
        others: folders of the same experiment from other machines, or their records.jsonl, to merge.

    Returns:
        The number of records in the file, and lines about records that cannot be used or were left out.

    Raises:
        UserError: one of ``others`` does not exist or has no record; or the folder's records.jsonl or predictions
            cannot be read completely, so that collecting would lose the unreadable part.
    """
    if not folder.is_dir() and not others:
        return 0, [f"{folder} has no result to collect: run the experiment first, or name another folder"]
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "runs" / ".collect.lock"):
        if lost := read_collected(folder / COLLECTED).problems:
            raise UserError(f"{lost[0]} (collecting would lose this line: mend or remove it first)")
        if lost := _read(folder / PREDICTIONS)[1]:
            raise UserError(f"{lost[0]} (collecting would lose the file: mend or remove it first)")
        archive = Archive(folder)
        problems, results = list(archive.problems), archive.results()
        for other in others:
            merged = _read_other(other)
            if not merged.records:
                raise UserError(f"{other} has no records: name a results folder of the experiment or a {COLLECTED}")
            results += merged.records
            problems += merged.problems
        distinct = {record.checksum: record for record in results}.values()
        clean = [record for record in distinct if record.environment.is_committed]
        if dropped := len(distinct) - len(clean):
            problems.append(f"{dropped} records are not collected: the code has changes, or git could not tell")
        kept = sorted(clean, key=lambda record: (record.run_id, record.created, record.checksum))
        if not kept:
            return 0, problems
        problems += _disagreements(kept) + _write_predictions(folder, kept, others)
        with atomic(folder / COLLECTED) as temporary:
            temporary.write_text("".join(f"{canonical_json(record.document())}\n" for record in kept), encoding="utf-8")
    return len(kept), list(dict.fromkeys(problems))


def _disagreements(records: Sequence[Record]) -> list[str]:
    """Return a line for each run whose records do not agree: all are kept, and none is used."""
    lines = []
    for _, of_run in groupby(records, key=lambda record: record.run_id):
        try:
            authoritative(list(of_run))
        except Disagreement as error:
            lines.append(str(error))
    return lines


def read_predictions(archive: Archive) -> tuple["pd.DataFrame", list[str]]:
    """Return the predictions of the authoritative records that have some, and a line for each damaged file.

    Columns: run_id, record (its checksum), split, row (number in the original split), label, prediction.
    """
    found, problems = _predictions(archive.folder)
    counting = {record.checksum for record in archive.records()}
    return found[found["record"].isin(counting)].reset_index(drop=True), problems


def check_predictions(folder: Path) -> list[str]:
    """Return a line if the collected predictions of a folder are damaged."""
    return _read(folder / PREDICTIONS)[1]


def _predictions(folder: Path) -> tuple["pd.DataFrame", list[str]]:
    """Return the predictions of all records in a folder, collected or made here, and a line for each damaged file."""
    collected, problems = _read(folder / PREDICTIONS)
    frames, known = [collected], set(collected["record"].unique())
    for record in read_runs(folder).records:
        run = run_folder(folder, record.run_id)
        if record.checksum in known or PREDICTIONS not in record.files:
            continue
        try:
            check_files(record, run)
        except UserError as error:
            problems.append(f"{error}; this file is left out: {how_to_repeat(record, run)}")
            continue
        own, damage = _read(run / PREDICTIONS)
        frames.append(own.assign(run_id=record.run_id, record=record.checksum))
        problems += damage
    return _joined(frames), problems


def _read(path: Path) -> tuple["pd.DataFrame", list[str]]:
    """Return the predictions in a file, empty if it is missing or damaged, and a line if it is damaged."""
    import pandas as pd
    from pyarrow import parquet

    try:
        if path.is_file():
            table = parquet.read_table(path)
            frame = table.to_pandas()
            declared = (table.schema.metadata or {}).get(DIGEST)  # absent in a run's file: the record has its digest
            if declared is not None and declared != _digest(frame):
                raise ValueError("its rows have changed since they were collected")
            return frame, []
        return pd.DataFrame(columns=COLUMNS), []
    except Exception as error:  # a flipped byte can make pyarrow raise any error
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        problem = f"{path} cannot be read ({reason}); it is left out: restore the file, or remove it and collect again"
        return pd.DataFrame(columns=COLUMNS), [problem]


def _digest(frame: "pd.DataFrame") -> bytes:
    """Return a digest of the rows. Without it, a flipped bit in a parquet file may be read as another number."""
    return fields_digest(
        "\n".join(frame[name].tolist()).encode() if name in TEXTS else frame[name].to_numpy("float64").tobytes()
        for name in COLUMNS
    ).encode()


def _joined(frames: Sequence["pd.DataFrame"]) -> "pd.DataFrame":
    """Concatenate the frames. Frames without rows are left out, because they have no types."""
    import pandas as pd

    filled = [frame[COLUMNS] for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else frames[0]


def _read_other(other: Path) -> Read:
    if other.is_dir():
        archive = Archive(other)
        return Read(archive.results(), archive.problems)
    return read_collected(other)


def _write_predictions(folder: Path, records: Sequence[Record], others: Sequence[Path]) -> list[str]:
    """Write the predictions of the records' reported split. Tuning runs are left out: no analysis uses them.

    Returns:
        A line for each damaged file, and one if the records that count have no predictions but their repeats have.
    """
    import pyarrow
    from pyarrow import parquet

    reported = [record for record in records if "reported" in record.scores]
    places = [folder, *(other if other.is_dir() else other.parent for other in others)]
    read = [_predictions(place) for place in places]
    problems = [problem for _, problems in read for problem in problems]
    joined = _joined([frame for frame, _ in read])
    table = joined[joined["record"].isin({record.checksum for record in reported})]
    table = table.drop_duplicates(["record", "split", "row"])
    if len(table):
        problems += _unused(table, reported)
        table = table.sort_values(["run_id", "record", "split", "row"], kind="stable").reset_index(drop=True)
        stored = pyarrow.Table.from_pandas(table, preserve_index=False)
        stored = stored.replace_schema_metadata({**stored.schema.metadata, DIGEST: _digest(table)})
        with atomic(folder / PREDICTIONS) as temporary:
            parquet.write_table(stored, temporary, compression="zstd")
    return problems


def _unused(table: "pd.DataFrame", records: Sequence[Record]) -> list[str]:
    """Return a line on the runs whose earliest record, which counts, has no predictions, though a repeat has.

    Args:
        records: ordered by time within each run.
    """
    earliest = {record.run_id: record.checksum for record in reversed(records)}
    without = set(table["run_id"]) - set(table.loc[table["record"].isin(earliest.values()), "run_id"])
    if not without:
        return []
    return [
        f"the predictions of {len(without)} runs, such as {min(without)}, are of repeats and not used: "
        f"merge the folder that has the {PREDICTIONS} of their earliest records"
    ]
