"""How far an experiment is: which runs are done, missing or failed, and how long the rest may take."""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from rich import box
from rich.console import Console
from rich.table import Table

from surm_bench.experiment.jobs import Job
from surm_bench.experiment.matching import Runs

STATES = ("done", "missing", "failed", "given up")


def estimate_seconds(jobs: Sequence[Job], runs: Runs) -> tuple[float, int]:
    """The time that the jobs still need in one process, from the wall times of finished ones.

    A job is taken to last as long as the mean of the done runs of its task and adapter; without any, as those of its
    task.

    Returns:
        Seconds, and how many of the jobs still to be run have no finished run of their task to go by.
    """
    times: dict[tuple[str, ...], list[float]] = {}
    for job in jobs:
        seconds = (runs.result(job) or {}).get("timing", {}).get("wall_seconds")
        if seconds is not None:
            times.setdefault((job.task, job.adapter), []).append(seconds)
            times.setdefault((job.task,), []).append(seconds)
    waiting = runs.waiting(jobs)
    known = [times.get((job.task, job.adapter)) or times.get((job.task,)) for job in waiting]
    return sum(fmean(of_alike) for of_alike in known if of_alike), sum(of_alike is None for of_alike in known)


def print_plan(title: str, jobs: Sequence[Job], runs: Runs, listed: bool, console: Console | None = None) -> None:
    """Print done of all runs for each adapter and task, failures with their reason, the totals and the time left.

    Args:
        listed: print every run with its state, too.
    """
    console = console or Console(highlight=False)
    console.print(f"{title}: runs done of those planned (! some failed)", style="bold")
    console.print(_matrix(jobs, runs))
    if listed:
        for job in jobs:
            console.print(f"{runs.status(job):10}{job.title}", markup=False)
    for record in runs.failures(jobs):
        told = record.get("error") or record["status"]
        console.print(f"failed  run {record['run_id']}: {told}", markup=False, style="red", soft_wrap=True)
    states = Counter(runs.status(job) for job in jobs)
    counts = ", ".join(f"{states[state]} {state}" for state in STATES if states[state] or state != "given up")
    console.print(f"{title}: {counts} of {len(jobs)} runs; {_time_left(jobs, runs)}", markup=False, soft_wrap=True)


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


def _time_left(jobs: Sequence[Job], runs: Runs) -> str:
    seconds, unknown = estimate_seconds(jobs, runs)
    if not runs.waiting(jobs):
        return "nothing left to run"
    hours, minutes = divmod(round(seconds / 60), 60)
    text = f"about {hours} h {minutes:02d} min left in one process" if seconds else "time left not known yet"
    return text + (f" (besides {unknown} runs of tasks without a finished run)" if unknown and seconds else "")
