"""What runs take: as finished ones did, or as a few timed steps say."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

from surm_bench.experiment.calibration import Calibration
from surm_bench.experiment.jobs import Job, resolved
from surm_bench.experiment.matching import Runs


class Estimate(NamedTuple):
    """Seconds of a run, and the devices of the finished runs that say so; none: a calibration does."""

    seconds: float
    devices: frozenset[str] = frozenset()


class Finished(NamedTuple):
    """A run that is done: its seconds, how long it was configured to be, and the device."""

    seconds: float
    length: int
    device: str


class Estimates:
    """What runs take, one after the other in one process.

    A run takes the median of the finished ones that differ by seed and setting alone; or else what a calibration says;
    or else the median of the finished ones of its task and adapter, in proportion to the steps.

    Args:
        jobs: those that may be finished.
        calibration: of the device at hand; with it, finished runs count that were made on such a device alone.
    """

    def __init__(self, jobs: Sequence[Job], runs: Runs, calibration: Calibration | None = None) -> None:
        self._calibration = calibration
        self._finished: dict[tuple, list[Finished]] = {}
        for job in jobs:
            record = runs.result(job) or {}
            seconds = record.get("timing", {}).get("wall_seconds")
            if seconds is None or (calibration is not None and not calibration.is_of(record["environment"])):
                continue
            finished = Finished(seconds, _length(job), record["environment"]["device_kind"])
            for alike in _alike(job):
                self._finished.setdefault(alike, []).append(finished)

    def of(self, job: Job) -> Estimate | None:
        """Of a run; None where nothing is known of it."""
        same, similar = (self._finished.get(alike, []) for alike in _alike(job))
        if same:
            return Estimate(median(run.seconds for run in same), _devices(same))
        calibrated = None if self._calibration is None else self._calibration.seconds(job)
        if calibrated is not None:
            return Estimate(calibrated)
        if similar:
            return Estimate(_length(job) * median(run.seconds / run.length for run in similar), _devices(similar))
        return None

    def total(self, jobs: Sequence[Job]) -> tuple[float, int]:
        """Seconds of all whose time is known, and how many others there are."""
        known = [estimate for job in jobs if (estimate := self.of(job)) is not None]
        return sum(estimate.seconds for estimate in known), len(jobs) - len(known)

    def sources(self, jobs: Iterable[Job]) -> list[str]:
        """Where the times of these are from, a line each."""
        known = [estimate for job in jobs if (estimate := self.of(job)) is not None]
        devices = sorted(frozenset().union(*(estimate.devices for estimate in known)))
        lines = [f"times by runs on {'; '.join(devices)}"] if devices else []
        if self._calibration is not None and not all(estimate.devices for estimate in known):
            lines.append(self._calibration.about)
        return lines


def time_left(estimates: Estimates, jobs: Sequence[Job], at_most: Sequence[Job] = ()) -> str | None:
    """As ``about 3 h 05 min``, with the number of jobs whose time is not known; None where no time is.

    Args:
        at_most: jobs that may follow: ``3 h 05 min to 4 h 10 min``.
    """
    seconds, unknown = estimates.total(jobs)
    more, more_unknown = estimates.total(at_most)
    if unknown + more_unknown == len(jobs) + len(at_most):
        return None
    least, most = _duration(seconds), _duration(seconds + more)
    known = f"about {least}" if least == most else f"{least} to {most}"
    others = up_to(unknown, unknown + more_unknown)
    return known if others == "0" else f"{known} (and {others} runs of unknown length)"


def up_to(least: object, most: object) -> str:
    """As ``3 to 5``, or ``3`` where both are equal."""
    return f"{least}" if least == most else f"{least} to {most}"


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def _alike(job: Job) -> list[tuple]:
    return [(job.task, job.adapter, job.overrides), (job.task, job.adapter)]


def _length(job: Job) -> int:
    """Steps, or epochs where a run is counted in these: for all runs of a task the same unit."""
    trainer = resolved(job)["trainer"]
    return trainer["max_steps"] or trainer["epochs"]


def _devices(runs: Sequence[Finished]) -> frozenset[str]:
    return frozenset(run.device for run in runs)
