"""Match records to jobs by the id of the run. The id depends on everything that determines the result of the run."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from surm_bench.config.identity import run_id
from surm_bench.errors import UserError
from surm_bench.experiment.contents import with_content
from surm_bench.experiment.jobs import Job, resolved
from surm_bench.records import Archive, Record

STATES = ("done", "missing", "failed", "given up")  # failed includes interrupted


class Runs:
    """The records below a folder, by job.

    Attributes:
        problems: a line for each record that cannot be used, and for each data set or model whose digest is unknown.
    """

    def __init__(self, folder: Path, places: Sequence[str] = ()) -> None:
        self.archive = Archive(folder)
        self.problems = self.archive.problems
        self._places = tuple(places)
        self._ids: dict[Job, str | None] = {}

    def id(self, job: Job) -> str | None:
        """Return the run id of a job; None if its data or weights have no declared digest and are not found here."""
        if job not in self._ids:
            try:
                self._ids[job] = run_id(with_content(resolved(job), self._places))
            except UserError as error:
                self._ids[job] = None
                if str(error) not in self.problems:
                    self.problems.append(str(error))
        return self._ids[job]

    def record(self, job: Job) -> Record | None:
        """Return the authoritative record of a job, with any status; None without a record."""
        if self.archive.is_empty:  # neither the id nor the job's data and weights are needed
            return None
        identifier = self.id(job)
        return None if identifier is None else self.archive.record(identifier)

    def result(self, job: Job) -> Record | None:
        """Return the record of a job that is done (succeeded or diverged), else None."""
        record = self.record(job)
        return record if record is not None and record.is_done else None

    def status(self, job: Job) -> str:
        """Return the state of a job, one of STATES."""
        record = self.record(job)
        if record is None:
            return "missing"
        if record.is_done:
            return "done"
        return "given up" if record.is_given_up else "failed"

    def waiting(self, jobs: Iterable[Job]) -> list[Job]:
        """Return the jobs that are still to be run."""
        return [job for job in jobs if self.status(job) in ("missing", "failed")]

    def results(self, jobs: Iterable[Job]) -> list[Record]:
        """Return the records of the jobs that are done."""
        return [record for job in jobs if (record := self.result(job)) is not None]

    def failures(self, jobs: Iterable[Job]) -> list[Record]:
        """Return the records of the jobs that failed, were interrupted or were given up."""
        return [record for job in jobs if (record := self.record(job)) is not None and not record.is_done]
