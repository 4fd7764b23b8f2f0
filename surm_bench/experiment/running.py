"""Running what is missing, one after the other in this process."""

from collections.abc import Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from surm_bench.experiment.jobs import Job, composed
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.refusals import startable
from surm_bench.places import override_of
from surm_bench.records import Claimed
from surm_bench.storage import StorageError, check_there


def run_jobs(jobs: Sequence[Job], folder: Path, title: str, places: Sequence[str] = ()) -> list[str]:
    """Run one after the other in this process what has no result yet; a failure does not stop the rest, and a run that
    another process trains is left to it.

    Args:
        folder: where records go.
        places: see surm_bench.experiment.jobs.composed.

    Returns:
        One line for each job that failed; its record says so too.

    Raises:
        StorageError: the disk of the folder is full or gone: what is left is not tried.
    """
    from surm_bench.runner import run  # torch: not before it is needed

    (folder / "runs").mkdir(parents=True, exist_ok=True)
    runs = Runs(folder, places)
    jobs, failures = startable([job for job in jobs if runs.result(job) is None], folder, places)
    if not jobs:
        return failures
    print(*failures, sep="\n", end="\n" * bool(failures))
    columns = (
        *(TextColumn("[bold]{task.fields[title]}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()),
        *(TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.description}")),
    )
    with Progress(*columns) as progress:

        def report(line: str) -> None:
            progress.console.print(line, highlight=False, markup=False, soft_wrap=True)

        bar = progress.add_task("", total=len(jobs), title=title)
        for number, job in enumerate(jobs, 1):
            progress.update(bar, description=job.title)
            if not progress.console.is_terminal:  # no bar in a log: a line a run instead
                progress.console.print(f"{title} {number}/{len(jobs)}: {job.title}", highlight=False)
            check_there(folder / "runs")  # else it would be made again, without the earlier results
            try:
                cfg = composed(job, (*places, override_of("results_dir", folder), "trainer.progress=true"))
                run(cfg, report, job.command)
            except Claimed as error:
                progress.console.print(f"left to another process: {error}", highlight=False, markup=False)
            except StorageError:
                raise
            except Exception as error:  # its record says failed; the rest goes on
                failures.append(f"{job.title}: {error}".replace("\n", " "))
                progress.console.print(f"failed {failures[-1]}", style="red", highlight=False, markup=False)
            progress.advance(bar)
    return failures
