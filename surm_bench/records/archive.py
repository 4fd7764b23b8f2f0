"""All records in a folder: records of runs made here (runs/) and collected records (records.jsonl)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from surm_bench.errors import UserError
from surm_bench.records.agreement import agree
from surm_bench.records.files import ASIDE, check_files
from surm_bench.records.record import Record
from surm_bench.records.store import RECORD_FILE, Damaged, parse, read_folder, run_folder

COLLECTED = "records.jsonl"


class Disagreement(UserError):
    """Several results of one run do not agree."""


class Read(NamedTuple):
    """Records that were read, and a line for each record that cannot be used."""

    records: list[Record]
    problems: list[str]


class Archive:
    """The authoritative record of each run, chosen by the function authoritative.

    Attributes:
        problems: a line for each record that cannot be used.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        collected, own = read_collected(self.folder / COLLECTED), read_runs(self.folder)
        self.problems = [f"{problem}; this line is left out: restore the file" for problem in collected.problems]
        self.problems += own.problems
        self._records: dict[str, dict[str, Record]] = defaultdict(dict)  # run id -> checksum -> record
        for record in _current(collected.records, own.records):
            self._records[record.run_id][record.checksum] = record
        self._authoritative = {run_id: self._choose(list(of.values())) for run_id, of in self._records.items()}

    @property
    def is_empty(self) -> bool:
        """Whether the folder has no usable record."""
        return not self._records

    def record(self, run_id: str) -> Record | None:
        """Return the authoritative record of a run, also if it is not a result; None without one."""
        return self._authoritative.get(run_id)

    def records(self) -> list[Record]:
        """Return the authoritative record of every run, ordered by id."""
        return [record for _, record in sorted(self._authoritative.items()) if record is not None]

    def results(self) -> list[Record]:
        """Return every record of finished runs, also repeats and disagreeing records, ordered by id and time."""
        results = [record for of_run in self._records.values() for record in of_run.values() if record.is_done]
        return sorted(results, key=lambda record: (record.run_id, *_age(record)))

    def _choose(self, of_run: list[Record]) -> Record | None:
        try:
            return authoritative(of_run)
        except Disagreement as error:
            self.problems.append(str(error))
            return None


def authoritative(of_run: Sequence[Record]) -> Record:
    """Choose the authoritative record of one run: the earliest result, or the latest record if there is no result.

    Raises:
        Disagreement: the run has results, for example from several machines, that do not agree. No result is used then.
    """
    done = sorted((record for record in of_run if record.is_done), key=_age)
    if not done:
        return max(of_run, key=_age)
    first, *repeats = done
    if other := next((record for record in repeats if not agree(first, record)), None):
        raise Disagreement(
            f"run {first.run_id} has results that do not agree, so none is used: {_shown(first)} and {_shown(other)}"
        )
    return first


def authoritative_record(results_dir: str | Path, run_id: str) -> Record | None:
    """Return the authoritative record of one run as Archive does, without reading the records of other runs.

    Returns None if the run has no record.

    Raises:
        Disagreement: the run has several results that do not agree.
        UserError: the record made here has another schema version.
    """
    collected = _usable(_lines(Path(results_dir) / COLLECTED, containing=run_id))
    own: list[Record] = []
    try:
        folder = run_folder(results_dir, run_id)
        if made := read_folder(folder):
            check_files(made, folder)
            own = [made]
    except Damaged:  # treated like a missing record
        pass
    records = [record for record in _current(collected.records, own) if record.run_id == run_id]
    return authoritative(list({record.checksum: record for record in records}.values())) if records else None


def read_collected(path: Path) -> Read:
    """Return the records of a file with a record in each line. A missing file has no records."""
    return _usable(_lines(path))


def read_runs(folder: Path) -> Read:
    """Return the records of the runs made in a folder."""
    records, problems = [], []
    for path in sorted(folder.glob(f"runs/*/{RECORD_FILE}")):
        if ASIDE in path.parent.name:
            continue
        try:
            if record := read_folder(path.parent):
                records.append(record)
        except UserError as error:
            problems.append(f"{error}; this record is left out: make the run again to replace it")
    return Read(records, problems)


def _current(collected: Iterable[Record], own: Iterable[Record]) -> list[Record]:
    """Return all records. Of a result that is collected and in its run's folder, the folder has the current names."""
    made = {record.run_id: record for record in own}
    return [*made.values(), *(record for record in collected if not _same_result(made.get(record.run_id), record))]


def _same_result(own: Record | None, collected: Record) -> bool:
    """Whether two records differ at most in the command and in class names, which the folder has as corrected."""
    known = {name: getattr(collected, name) for name in ("config", "command", "checksum")}
    return own is not None and own.having(**known) == collected


def _usable(texts: Iterable[tuple[str, str]]) -> Read:
    records, problems = [], []
    for place, text in texts:
        try:
            records.append(parse(text, place))
        except UserError as error:
            problems.append(str(error))
    return Read(records, problems)


def _lines(path: Path, containing: str = "") -> Iterator[tuple[str, str]]:
    """Yield the place of each line, for error messages, and the line, without blank lines. A missing file has none."""
    if path.is_file():
        for number, text in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if text.strip() and containing in text:
                yield f"{path}, line {number}", text


def _age(record: Record) -> tuple[str, str]:
    return record.created, record.checksum


def _shown(record: Record) -> str:
    """Describe a record in a few words: score or status, time and device."""
    where = f"{record.created} on {record.environment.device}"
    return f"{record.status if record.score is None else format(record.score, '.4f')} ({where})"
