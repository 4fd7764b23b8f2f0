"""Make the missing runs of an experiment: one after the other in this process, or several at once by a launcher."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from surm_bench.config import Config
from surm_bench.config.composition import add_config_dir, config_dirs
from surm_bench.experiment.deadline import TIME_UP, TimeUp, deadline
from surm_bench.experiment.jobs import Job, resolved
from surm_bench.experiment.launching import launcher_of
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.refusals import startable
from surm_bench.records import Locked
from surm_bench.system.storage import StorageError, check_there

Work = tuple[Config, str, list[Path], float | None]  # the arguments of run_one
COLUMNS = (
    *(TextColumn("[bold]{task.fields[title]}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()),
    *(TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.description}")),
)


def run_jobs(
    jobs: Sequence[Job],
    folder: Path,
    title: str,
    local: Sequence[str] = (),
    until: float | None = None,
    launcher: str | None = None,
    options: Sequence[str] = (),
) -> list[str]:
    """Run the jobs that have no result yet. A failure does not stop the others; a run of another process is skipped.

    Args:
        folder: the results folder, where records are written.
        title: the text beside the progress bar.
        local: see surm_bench.experiment.jobs.resolved.
        until: the time at which to stop, in seconds since the epoch; None: when all jobs are done.
        launcher, options: see surm_bench.experiment.launching.launcher_of; None: one run after the other.

    Returns:
        One line for each job that failed (the job's record tells the failure too), and TIME_UP if the time is up.

    Raises:
        UserError: the launcher is unknown or not installed, or does not take an option.
        StorageError: the disk of the folder is full or gone, which ends all runs (except those of submitit).
    """
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    runs = Runs(folder, local)
    waiting, refused = startable([job for job in jobs if runs.result(job) is None], folder, local)
    if not waiting:
        return refused
    launch = launcher_of(launcher, options, folder) if launcher else None
    print(*refused, sep="\n", end="\n" * bool(refused))
    shown = () if launch else ("trainer.progress=true",)
    added = config_dirs()[1:]
    configs = [resolved(job, (*local, *shown)).having(results_dir=str(folder)) for job in waiting]
    work = [(config, job.command, added, until) for config, job in zip(configs, waiting, strict=True)]
    lines = launch(run_one, work) if launch else _in_turn(waiting, work, title)
    each = zip(waiting, lines, strict=False)  # there are fewer lines if the time was up
    failed = [(job, line) for job, line in each if line and line != TIME_UP]
    return [*refused, *(f"{job.title}: {line}" for job, line in failed), *[TIME_UP] * (TIME_UP in lines)]


def _in_turn(jobs: Sequence[Job], work: Sequence[Work], title: str) -> list[str | None]:
    """Make one run after the other behind a progress bar, until the time is up."""
    lines: list[str | None] = []
    with Progress(*COLUMNS) as progress:
        show = partial(progress.console.print, highlight=False, markup=False, soft_wrap=True)
        bar = progress.add_task("", total=len(jobs), title=title)
        for number, (job, arguments) in enumerate(zip(jobs, work, strict=True), 1):
            progress.update(bar, description=job.title)
            if not progress.console.is_terminal:  # a log has no progress bar, but a line for each run
                show(f"{title} {number}/{len(jobs)}: {job.title}")
            lines.append(line := run_one(*arguments, show))
            if line == TIME_UP:
                break
            if line:
                show(f"failed {job.title}: {line}", style="red")
            progress.advance(bar)
    return lines


def run_one(
    config: Config,
    command: str,
    added: list[Path],
    until: float | None,
    show: Callable[[str], object] | None = None,
) -> str | None:
    """Make one run, in any process; return the error in one line, TIME_UP, or None for a run that is done or skipped.

    Args:
        added: the user's config folders.
        until: see run_jobs.
        show: prints a line; None: print.

    Raises:
        StorageError: the disk of the results is full or gone.
    """
    from surm_bench.run.runner import run  # imports torch, so only when needed

    show = show or partial(print, flush=True)  # a log is read while a run goes on
    try:
        check_there(Path(config.results_dir) / "runs")  # otherwise a folder without the earlier results would be made
        for folder in added:
            add_config_dir(folder)
        with deadline(until):
            run(config, show, command)
    except TimeUp:
        return TIME_UP
    except Locked as error:
        show(f"skipped: {error}")
    except StorageError:
        raise
    except Exception as error:  # the record says failed; the other runs go on
        return f"{error}".replace("\n", " ") or type(error).__name__
    return None
