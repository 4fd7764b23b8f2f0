"""Make the missing runs, one after the other in this process."""

from collections.abc import Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from surm_bench.experiment.deadline import TIME_UP, TimeUp, deadline
from surm_bench.experiment.jobs import Job, resolved
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.refusals import startable
from surm_bench.records import Locked
from surm_bench.system.storage import StorageError, check_there


def run_jobs(
    jobs: Sequence[Job], folder: Path, title: str, local: Sequence[str] = (), until: float | None = None
) -> list[str]:
    """Run the jobs that have no result yet, one after the other in this process.

    A failure does not stop the other runs. A run that another process is training is skipped.

    Args:
        folder: the results folder, where records are written.
        local: see surm_bench.experiment.jobs.resolved.
        until: the time at which to stop, in seconds since the epoch; None: when all jobs are done.

    Returns:
        One line for each job that failed (the job's record tells the failure too), and TIME_UP if the time is up.

    Raises:
        StorageError: the disk of the folder is full or gone; the remaining jobs are not tried.
    """
    from surm_bench.run.runner import run  # imports torch, so only when needed

    (folder / "runs").mkdir(parents=True, exist_ok=True)
    runs = Runs(folder, local)
    jobs, failures = startable([job for job in jobs if runs.result(job) is None], folder, local)
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
            if not progress.console.is_terminal:  # a log has no progress bar, but a line for each run
                progress.console.print(f"{title} {number}/{len(jobs)}: {job.title}", highlight=False)
            check_there(folder / "runs")  # otherwise a new folder without the earlier results would be made
            try:
                config = resolved(job, (*local, "trainer.progress=true")).having(results_dir=str(folder))
                with deadline(until):
                    run(config, report, job.command)
            except TimeUp:
                return [*failures, TIME_UP]
            except Locked as error:
                progress.console.print(f"skipped: {error}", highlight=False, markup=False)
            except StorageError:
                raise
            except Exception as error:  # the record says failed; the other runs go on
                failures.append(f"{job.title}: {error}".replace("\n", " "))
                progress.console.print(f"failed {failures[-1]}", style="red", highlight=False, markup=False)
            progress.advance(bar)
    return failures
