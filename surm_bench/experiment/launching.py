"""Make several runs at once: as joblib processes on this machine, or as submitit jobs on a Slurm cluster."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console

from surm_bench.config import Config
from surm_bench.config.composition import add_config_dir, config_dirs
from surm_bench.errors import UserError, unknown
from surm_bench.experiment.deadline import TIME_UP, TimeUp, deadline
from surm_bench.experiment.jobs import Job, resolved
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.refusals import startable
from surm_bench.records import Locked
from surm_bench.system.storage import StorageError, check_there

LAUNCHERS = ("joblib", "submitit_local", "submitit_slurm")
Work = tuple[Config, str, list[Path], float | None]  # the arguments of _run_one


def launch_jobs(
    jobs: Sequence[Job],
    folder: Path,
    launcher: str,
    options: Sequence[str] = (),
    local: Sequence[str] = (),
    until: float | None = None,
) -> list[str]:
    """Run the jobs that have no result yet, several at once or on a cluster; a failure does not stop the others.

    Args:
        folder: the results folder, where records are written.
        launcher: one of LAUNCHERS.
        options: key=value: arguments of joblib.Parallel, as n_jobs=2, or of submitit.AutoExecutor.update_parameters,
            as slurm_partition=gpu. Hydra's notation is accepted too: hydra.launcher.n_jobs=2.
        local: see surm_bench.experiment.jobs.resolved.
        until: the time at which to stop, in seconds since the epoch; None: when all jobs are done.

    Returns:
        One line for each job that failed (the job's record tells the failure too), and TIME_UP if the time is up.

    Raises:
        UserError: the launcher is unknown or not installed, or does not take an option.
        StorageError: the disk of the folder is full or gone (raised with joblib only; stops the runs in progress).
    """
    if launcher not in LAUNCHERS:
        raise unknown("launcher", launcher, LAUNCHERS)
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    waiting, refused = startable(Runs(folder, local).waiting(jobs), folder, local)
    if not waiting:
        return refused
    print(*refused, sep="\n", end="\n" * bool(refused))
    given = OmegaConf.to_container(OmegaConf.from_dotlist([o.removeprefix("hydra.launcher.") for o in options]))
    added = config_dirs()[1:]
    work = [(resolved(job, local).having(results_dir=str(folder)), job.command, added, until) for job in waiting]
    try:
        lines = _joblib(work, given) if launcher == "joblib" else _submitit(work, given, folder, launcher)
    except NameError as error:  # how submitit refuses an option
        raise UserError(f"launcher {launcher} with {list(options)}: {error}") from error
    failed = [(job, line) for job, line in zip(waiting, lines, strict=True) if line and line != TIME_UP]
    return refused + [f"{job.title}: {line}" for job, line in failed] + [TIME_UP] * (TIME_UP in lines)


def _joblib(work: list[Work], options: dict) -> list[str | None]:
    from joblib import Parallel, delayed

    for name in options.keys() - inspect.signature(Parallel).parameters.keys():
        raise unknown("option of joblib", name, inspect.signature(Parallel).parameters)
    return Parallel(**{"n_jobs": -1} | options)(delayed(_run_one)(*arguments) for arguments in work)


def _submitit(work: list[Work], options: dict, folder: Path, launcher: str) -> list[str | None]:
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise UserError(f"launcher {launcher} needs submitit: pip install 'surm-bench[slurm]'") from error
    executor = submitit.AutoExecutor(folder / "launcher" / "%j", cluster=launcher.removeprefix("submitit_"))
    executor.update_parameters(**options)
    return [job.result() for job in executor.map_array(_Queued(), *zip(*work, strict=True))]


class _Queued:
    """A run as a submitit job. If its time is up or the cluster preempts it, the job is queued again and continues."""

    def __call__(self, *work: Any) -> str | None:
        """Run, and return a full or missing disk as the job's line: the other jobs detect the disk by themselves."""
        try:
            return _run_one(*work)
        except StorageError as error:
            return str(error)

    def checkpoint(self, *work: Any) -> Any:
        """Queue the job again; submitit calls this before it ends a job, when the state has been saved."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *work)


def _run_one(config: Config, command: str, added: list[Path], until: float | None) -> str | None:
    """Make one run in the launcher's process, with the user's config folders; return the error, or TIME_UP.

    Raises:
        StorageError: the disk of the results is full or gone, which ends the other runs too.
    """
    from surm_bench.run.runner import run  # imports torch, so only when needed

    def report(line: str) -> None:
        Console().print(line, highlight=False, markup=False, soft_wrap=True)

    try:
        check_there(Path(config.results_dir) / "runs")
        for folder in added:
            add_config_dir(folder)
        with deadline(until):
            run(config, report, command)
    except TimeUp:
        return TIME_UP
    except Locked:
        return None
    except StorageError:
        raise
    except Exception as error:
        return f"{error}".replace("\n", " ")
    return None
