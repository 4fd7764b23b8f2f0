"""How far an experiment is: which runs are done, missing or failed, and how long the rest may take."""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from rich import box
from rich.console import Console
from rich.table import Table

from surm_bench.experiment.ahead import growth_ahead, reports_ahead, survivors_ahead
from surm_bench.experiment.calibration import Calibration
from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.jobs import Job, pairs
from surm_bench.experiment.matching import STATES, Runs
from surm_bench.experiment.tuning import Tuned


class Estimates:
    """What runs take, one after the other in one process.

    A run takes as long as the mean of the finished ones that differ by seed and setting alone; or else what a
    calibration says; or else the mean of the finished ones of its task and adapter, or of its task.

    Args:
        jobs: those that may be finished.
    """

    def __init__(self, jobs: Sequence[Job], runs: Runs, calibration: Calibration | None = None) -> None:
        self._calibration = calibration
        self._times: dict[tuple, list[float]] = {}
        for job in jobs:
            seconds = (runs.result(job) or {}).get("timing", {}).get("wall_seconds")
            if seconds is not None:
                for alike in _alike(job):
                    self._times.setdefault(alike, []).append(seconds)

    def seconds(self, job: Job) -> float | None:
        """Of a run; None where nothing is known of it."""
        closest, *others = (self._times.get(alike) for alike in _alike(job))
        if closest is None and self._calibration is not None:
            calibrated = self._calibration.seconds(job)
            if calibrated is not None:
                return calibrated
        return next((fmean(times) for times in (closest, *others) if times), None)

    def total(self, jobs: Sequence[Job]) -> tuple[float, int]:
        """Seconds of all whose time is known, and how many others there are."""
        known = [self.seconds(job) for job in jobs]
        return sum(filter(None, known)), known.count(None)


def _alike(job: Job) -> list[tuple]:
    return [(job.task, job.adapter, job.overrides), (job.task, job.adapter), (job.task,)]


def print_plan(title: str, jobs: Sequence[Job], runs: Runs, estimates: Estimates, listed: bool) -> None:
    """Print done of all runs for each adapter and task, failures with their reason, the totals and the time left.

    Args:
        listed: print every run with its state, too.
    """
    console = Console(highlight=False)
    matrix = _matrix(jobs, runs)
    console.width = max(console.width, console.measure(matrix, options=console.options.update(width=1000)).maximum)
    console.print(f"{title}: runs done of those planned (! some failed)", style="bold")
    console.print(matrix)
    if listed:
        for job in jobs:
            console.print(f"{runs.status(job):10}{job.title}", markup=False)
    for record in runs.failures(jobs):
        line = record.get("error") or record["status"]
        console.print(f"failed  run {record['run_id']}: {line}", markup=False, style="red", soft_wrap=True)
    states = Counter(runs.status(job) for job in jobs)
    counts = ", ".join(f"{states[state]} {state}" for state in STATES if states[state] or state != "given up")
    waiting = runs.waiting(jobs)
    time = time_left(estimates, waiting)
    left = f"{time} left in one process" if time else "time left not known yet" if waiting else "nothing left to run"
    console.print(f"{title}: {counts} of {len(jobs)} runs; {left}", markup=False, soft_wrap=True)


def print_ahead(experiment: Experiment, state: Tuned, estimates: Estimates) -> None:
    """Print what the runs will take that are wanted only once others are done."""
    if time := time_left(estimates, survivors_ahead(experiment, state)):
        print(f"{experiment.name}, tuning: then {time} for full runs of the best settings")
    if time := time_left(estimates, growth_ahead(experiment, state)):
        print(f"{experiment.name}, tuning: at most {time} more where ranges grow")
    if waiting := reports_ahead(experiment, state):
        planned, time = len(pairs(experiment)) * len(experiment.seeds), time_left(estimates, waiting)
        line = f"{len(waiting)} of {planned} runs wait for their setting" + (f"; {time}" if time else "")
        print(f"{experiment.name}, reported: {line}")


def time_left(estimates: Estimates, jobs: Sequence[Job]) -> str | None:
    """As ``about 3 h 05 min``, with the number of jobs whose time is not known; None where no time is."""
    seconds, unknown = estimates.total(jobs)
    if unknown == len(jobs):
        return None
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes:02d} min" + (f" (and {unknown} runs of unknown length)" if unknown else "")


def _matrix(jobs: Sequence[Job], runs: Runs) -> Table:
    """Adapters against tasks, the more numerous of them down the side."""
    cells: dict[tuple[str, str], list[str]] = {}
    for job in jobs:
        cells.setdefault((job.adapter, job.task), []).append(runs.status(job))
    adapters, tasks = (list(dict.fromkeys(names)) for names in zip(*cells, strict=True)) if cells else ([], [])
    across = len(tasks) <= len(adapters)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("adapter" if across else "task")
    for name in tasks if across else adapters:
        table.add_column(name, justify="right")
    for side in adapters if across else tasks:
        pairs = [(side, task) for task in tasks] if across else [(adapter, side) for adapter in adapters]
        table.add_row(side, *(_cell(cells.get(pair, [])) for pair in pairs))
    return table


def _cell(states: list[str]) -> str:
    return f"{states.count('done')}/{len(states)}{'!' * bool({'failed', 'given up'} & set(states))}" if states else "—"
