"""Which records belong to which jobs: by the id of the run, which holds all that determines its result."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from surm_bench.errors import UserError
from surm_bench.experiment.contents import with_content
from surm_bench.experiment.jobs import Job, resolved
from surm_bench.identity import run_id
from surm_bench.records import Archive, is_done, is_given_up

STATES = ("done", "missing", "failed", "given up")  # failed: also interrupted


class Runs:
    """The records below a folder, and the jobs that they are of.

    Attributes:
        problems: a line for each record that cannot be used, and for each content that is not known here.
    """

    def __init__(self, folder: Path, places: Sequence[str] = ()) -> None:
        self.archive = Archive(folder)
        self.problems = self.archive.problems
        self._places = tuple(places)
        self._ids: dict[Job, str | None] = {}

    def id(self, job: Job) -> str | None:
        """The id of a job; None where what it reads is neither declared nor found here."""
        if job not in self._ids:
            try:
                self._ids[job] = run_id(with_content(resolved(job), self._places))
            except UserError as error:
                self._ids[job] = None
                if str(error) not in self.problems:
                    self.problems.append(str(error))
        return self._ids[job]

    def record(self, job: Job) -> dict | None:
        """The record of a job that counts, whatever its status."""
        if self.archive.is_empty:  # no id is needed, nor what the job reads
            return None
        identifier = self.id(job)
        return None if identifier is None else self.archive.record(identifier)

    def result(self, job: Job) -> dict | None:
        """The record of a job that is done: a success, or a run that diverged."""
        record = self.record(job)
        return record if is_done(record) else None

    def status(self, job: Job) -> str:
        """One of STATES."""
        record = self.record(job)
        if record is None:
            return "missing"
        if is_done(record):
            return "done"
        return "given up" if is_given_up(record) else "failed"

    def waiting(self, jobs: Iterable[Job]) -> list[Job]:
        """The jobs that are still to be run."""
        return [job for job in jobs if self.status(job) in ("missing", "failed")]

    def results(self, jobs: Iterable[Job]) -> list[dict]:
        """The records of those of the jobs that are done."""
        return [record for job in jobs if (record := self.result(job)) is not None]

    def failures(self, jobs: Iterable[Job]) -> list[dict]:
        """The records of those of the jobs that failed or broke off."""
        return [record for job in jobs if (record := self.record(job)) is not None and not is_done(record)]
