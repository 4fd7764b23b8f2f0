"""All records below a folder: those of runs made here (runs/) and those that were collected (records.jsonl)."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from surm_bench.errors import UserError
from surm_bench.records.agreement import agree, score
from surm_bench.records.status import is_done
from surm_bench.records.store import FILE, parse, read, run_folder

COLLECTED = "records.jsonl"


class Archive:
    """The record that counts for each run.

    Of several results of one run (from several machines) the earliest counts if they agree; otherwise none does.

    Attributes:
        problems: a line for each record that cannot be used.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.problems: list[str] = []
        self._found: dict[str, dict[str, dict]] = defaultdict(dict)  # run id -> checksum -> record
        self._add(read_collected(self.folder / COLLECTED, self.problems))
        self._add(read_runs(self.folder, self.problems))
        self._counting = {run_id: self._choose(run_id, list(found.values())) for run_id, found in self._found.items()}

    def record(self, run_id: str) -> dict | None:
        """The record that counts, a result or not; None where there is none."""
        return self._counting.get(run_id)

    def records(self) -> list[dict]:
        """Every record that counts, ordered by id."""
        return [record for _, record in sorted(self._counting.items()) if record is not None]

    def results(self) -> list[dict]:
        """Every record of a finished run, repeats and disagreeing ones too, ordered by id and time."""
        found = [record for of_run in self._found.values() for record in of_run.values() if is_done(record)]
        return sorted(found, key=lambda record: (record["run_id"], record["created"], record["checksum"]))

    def _add(self, records: Iterable[dict]) -> None:
        for record in records:
            self._found[record["run_id"]][record["checksum"]] = record

    def _choose(self, run_id: str, found: list[dict]) -> dict | None:
        done = sorted((record for record in found if is_done(record)), key=lambda record: record["created"])
        if not done:
            return max(found, key=lambda record: record["created"])
        first = done[0]
        if other := next((record for record in done[1:] if not agree(first, record)), None):
            self.problems.append(
                f"run {run_id} has results that do not agree, and none is used: {_told(first)} and {_told(other)}"
            )
            return None
        return first


def read_collected(path: Path, problems: list[str]) -> list[dict]:
    """The records of a file of one record a line; a line that cannot be used becomes a problem."""
    if not path.is_file():
        return []
    return _usable(((f"{path}, line {n}", text) for n, text in enumerate(_lines(path), 1)), problems)


def read_runs(folder: Path, problems: list[str]) -> list[dict]:
    """The records of the runs made below a folder; one that cannot be used becomes a problem."""
    records = []
    for path in sorted(folder.glob(f"runs/*/{FILE}")):
        if ".damaged" in path.parent.name:  # set aside
            continue
        try:
            record = read(path)
            if path.parent.name != record["run_id"]:
                raise UserError(f"{path} is a copy of run {record['run_id']}: it lies in the folder of another")
            records.append(record)
        except UserError as error:
            problems.append(str(error))
    return records


def read_record(results_dir: str | Path, run_id: str) -> dict | None:
    """The record of one run that counts, without reading those of all others made here; None where there is none.

    Raises:
        Damaged: the record made here is not what was written.
    """
    path, folder = run_folder(results_dir, run_id) / FILE, Path(results_dir)
    own = read(path) if path.is_file() else None
    if is_done(own):
        return own
    collected = [r for r in read_collected(folder / COLLECTED, []) if r["run_id"] == run_id]
    return min(collected, key=lambda record: record["created"], default=own)


def _usable(texts: Iterable[tuple[str, str]], problems: list[str]) -> list[dict]:
    records = []
    for place, text in texts:
        try:
            records.append(parse(text, place))
        except UserError as error:
            problems.append(str(error))
    return records


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _told(record: dict) -> str:
    """A record in a few words: when, where, and what came out."""
    where = f"{record['created']} on {record['environment']['device']}"
    return f"{record['status'] if score(record) is None else format(score(record), '.4f')} ({where})"
