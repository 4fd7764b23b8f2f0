"""Estimates of the time of runs, from finished runs or from short runs."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

from surm_bench.experiment.calibration import Calibration, device_of
from surm_bench.experiment.jobs import Job, resolved
from surm_bench.experiment.matching import Runs


class Estimate(NamedTuple):
    """The estimated seconds of a run, and the devices of the finished runs used; no devices: from a calibration."""

    seconds: float
    devices: frozenset[str] = frozenset()


class Estimates:
    """Estimates of the time that runs take, one after the other in one process.

    The estimate of a run is the median time of the finished runs that differ only by seed and setting. If there are
    none, the estimate is from the calibration. Without a calibrated time, the estimate is the median over the finished
    runs of the same task and adapter, in proportion to the steps.

    Args:
        jobs: the jobs that may be finished.
        calibration: only runs of one device count, in the calibration or finished: of the device of the newest run.
    """

    def __init__(self, jobs: Sequence[Job], runs: Runs, calibration: Calibration | None = None) -> None:
        results = ((job, runs.result(job)) for job in jobs)
        timed = {job: record for job, record in results if record and record.timing and record.timing.wall_seconds}
        device = None  # without a calibration, finished runs of all devices count
        if calibration and calibration.last:
            device = device_of(max([calibration.last, *timed.values()], key=lambda record: record.created))
        fits = device is not None and device == device_of(calibration.last)
        self._calibration = calibration if fits else None
        self._unfit = calibration.about if device is not None and not fits else None
        self._finished = defaultdict(list)  # what jobs have in common -> (seconds, seconds of a step, device)
        for job, record in timed.items():
            seconds = record.timing.wall_seconds
            if device in (None, device_of(record)):
                for alike in _alike(job):
                    self._finished[alike].append((seconds, seconds / _length(job), record.environment.hardware))

    def of(self, job: Job) -> Estimate | None:
        """Return the estimate of a run; None if no time is known."""
        same, similar = (list(zip(*self._finished[alike], strict=True)) for alike in _alike(job))
        if same:
            return Estimate(median(same[0]), frozenset(same[2]))
        if self._calibration and (calibrated := self._calibration.seconds(job)) is not None:
            return Estimate(calibrated)
        return Estimate(_length(job) * median(similar[1]), frozenset(similar[2])) if similar else None

    def total(self, jobs: Sequence[Job]) -> tuple[float, int]:
        """Return the total seconds of the jobs with a known time, and the number of jobs without a known time."""
        known = [estimate for job in jobs if (estimate := self.of(job)) is not None]
        return sum(estimate.seconds for estimate in known), len(jobs) - len(known)

    def sources(self, jobs: Iterable[Job]) -> list[str]:
        """Return a line for each source of the times of these jobs."""
        known = [estimate for job in jobs if (estimate := self.of(job)) is not None]
        devices = sorted(frozenset().union(*(estimate.devices for estimate in known)))
        lines = [f"times by runs on {'; '.join(devices)}"] if devices else []
        if self._calibration is not None and not all(estimate.devices for estimate in known):
            lines.append(self._calibration.about)
        return lines + ([f"{self._unfit}: not used, because newer runs are of another device"] if self._unfit else [])


def time_left(estimates: Estimates, jobs: Sequence[Job], at_most: Sequence[Job] = ()) -> str | None:
    """Return a text such as ``about 3 h 05 min``, with the number of jobs of unknown time; None if no time is known.

    Args:
        at_most: jobs that may follow, which give a range: ``3 h 05 min to 4 h 10 min``.
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
    """Return a text such as ``3 to 5``, or ``3`` if both numbers are equal."""
    return f"{least}" if least == most else f"{least} to {most}"


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def _alike(job: Job) -> list[tuple]:
    return [(job.task, job.adapter, job.overrides), (job.task, job.adapter)]


def _length(job: Job) -> int:
    """Return the length of a run in steps, or in epochs if max_steps is not set; all runs of a task share the unit."""
    trainer = resolved(job).trainer
    return trainer.max_steps or trainer.epochs
