"""Print the progress of an experiment: the runs done, missing and failed, and how long the remaining runs may take."""

from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from surm_bench.experiment.ahead import Left
from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.estimates import Estimates, time_left, up_to
from surm_bench.experiment.jobs import Job, pairs
from surm_bench.experiment.matching import STATES, Runs


def print_plan(title: str, jobs: Sequence[Job], runs: Runs, estimates: Estimates, listed: bool) -> None:
    """Print the number of done runs for each adapter and task, failures with reasons, the totals and the time left.

    Args:
        listed: also print every run with its state.
    """
    console = Console(highlight=False)
    matrix = _matrix(jobs, runs)
    console.width = max(console.width, console.measure(matrix, options=console.options.update(width=1000)).maximum)
    console.print(f"{title}: runs done of runs planned (! some failed)", style="bold")
    console.print(matrix)
    if listed:
        for job in jobs:
            console.print(f"{runs.status(job):10}{job.title}", markup=False)
    for record in runs.failures(jobs):
        line = record.error or record.status
        console.print(f"failed  run {record.run_id}: {line}", markup=False, style="red", soft_wrap=True)
    left = _left(estimates, runs.waiting(jobs))
    console.print(f"{title}: {counts(jobs, runs)} of {len(jobs)} runs; {left}", markup=False, soft_wrap=True)


def print_ahead(experiment: Experiment, left: Left, estimates: Estimates) -> None:
    """Print how many runs must wait for other runs, and how long these later runs take."""
    planned = len(pairs(experiment)) * len(experiment.seeds)
    for part, line, jobs in (
        ("tuning", f"then {len(left.survivors)} full runs of the best settings", left.survivors),
        ("tuning", f"at most {len(left.growth)} more runs where ranges grow", left.growth),
        ("reported", f"{len(left.reports)} of {planned} runs wait for their setting", left.reports),
    ):
        if jobs:
            time = time_left(estimates, jobs)
            print(f"{experiment.name}, {part}: {line}" + (f"; {time}" if time else ""))


def print_total(experiment: Experiment, left: Left, estimates: Estimates) -> None:
    """Print the total number of runs, the time of the remaining runs, and the sources of the times."""
    least = left.wanted + len(left.survivors) + len(left.reports)
    time = _left(estimates, left.sure, left.growth)
    print(f"{experiment.name}: {up_to(least, least + len(left.growth))} runs in all, {time}")
    for line in estimates.sources([*left.sure, *left.growth]):
        print(line)


def counts(jobs: Sequence[Job], runs: Runs) -> str:
    """Return a text such as ``3 done, 4 missing, 0 failed``."""
    states = Counter(runs.status(job) for job in jobs)
    return ", ".join(f"{states[state]} {state}" for state in STATES if states[state] or state != "given up")


def _left(estimates: Estimates, jobs: Sequence[Job], at_most: Sequence[Job] = ()) -> str:
    if not jobs and not at_most:
        return "nothing left to run"
    time = time_left(estimates, jobs, at_most)
    return f"{time} left in one process" if time else "time left not known yet"


def _matrix(jobs: Sequence[Job], runs: Runs) -> Table:
    """Return a table of adapters against tasks. The rows are adapters or tasks, whichever are more."""
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
