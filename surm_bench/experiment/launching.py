"""Call a function several times at once: in processes of joblib on this machine, or as submitit jobs on a cluster."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from surm_bench.errors import UserError, unknown
from surm_bench.system.storage import StorageError

if TYPE_CHECKING:
    from submitit import Job

LAUNCHERS = ("joblib", "submitit_local", "submitit_slurm")
JOBLIB = ("n_jobs", "verbose", "pre_dispatch", "temp_folder")  # others make threads, which would share random numbers
Function = Callable[..., str | None]
Launch = Callable[[Function, Sequence[tuple]], list[str | None]]


def launcher_of(name: str, options: Sequence[str], folder: Path) -> Launch:
    """Return a function that calls another function with each tuple of arguments, and returns its results in order.

    Args:
        name: one of LAUNCHERS.
        options: key=value: arguments of joblib.Parallel (JOBLIB), as n_jobs=2, or of
            submitit.AutoExecutor.update_parameters, as slurm_partition=gpu. Hydra's notation is accepted too:
            hydra.launcher.n_jobs=2.
        folder: the results folder, where submitit writes its files.

    Raises:
        UserError: the launcher is unknown, not installed or not possible here, or does not take an option.
    """
    if name not in LAUNCHERS:
        raise unknown("launcher", name, LAUNCHERS)
    given = OmegaConf.to_container(OmegaConf.from_dotlist([o.removeprefix("hydra.launcher.") for o in options]))
    try:
        return _joblib(given) if name == "joblib" else _submitit(given, folder, name.removeprefix("submitit_"))
    except UserError:
        raise
    except (NameError, RuntimeError, TypeError, ValueError) as error:  # joblib or submitit refuses
        raise UserError(f"launcher {name} with {list(options)}: {_in_one_line(error)}") from error


def _joblib(options: dict[str, Any]) -> Launch:
    for name in options.keys() - set(JOBLIB):
        raise unknown("option of joblib", name, JOBLIB)
    n_jobs = options.setdefault("n_jobs", -1)
    if not isinstance(n_jobs, int) or n_jobs == 0:
        raise UserError(f"launcher option n_jobs={n_jobs} is not possible: give a number of runs at once, or -1 (all)")
    from surm_bench.experiment.workers import in_workers  # imports joblib, so only when needed

    return lambda function, work: in_workers(function, work, options)


def _submitit(options: dict[str, Any], folder: Path, cluster: str) -> Launch:
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise UserError(f"launcher submitit_{cluster} needs submitit: pip install 'surm-bench[slurm]'") from error
    # A job whose time is up is queued again as often as it takes; submitit's default is three times.
    executor = submitit.AutoExecutor(folder / "launcher" / "%j", cluster=cluster, slurm_max_num_timeout=10**6)
    executor.update_parameters(**options)

    def launch(function: Function, work: Sequence[tuple]) -> list[str | None]:
        try:
            jobs = executor.map_array(Queued(function), *zip(*work, strict=True))
        except submitit.core.utils.FailedJobError as error:  # Slurm refuses, for example a partition
            raise UserError(f"launcher submitit_{cluster}: {_in_one_line(error)}") from error
        return [outcome(job) for job in jobs]

    return launch


def outcome(job: "Job[str | None]") -> str | None:
    """Return the result of a submitit job, or in one line why it has none, for example because it was killed."""
    if (error := job.exception()) is None:
        return job.result()
    # The error holds all that the job has printed: its first lines tell the state, the last one of a trace the reason.
    text = str(error).partition("You can check full logs")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip(" -")]
    reason = lines[-1:] if any(line.startswith("Traceback") for line in lines) else lines[:2]
    return f"{' '.join(reason)} (log: {job.paths.stderr})"


@dataclass(frozen=True)
class Queued:
    """A function as a submitit job. If its time is up or the cluster preempts it, it is queued again and continues."""

    function: Function

    def __call__(self, *arguments: Any) -> str | None:
        """Call it; return a full or missing disk as the job's line: the other jobs detect the disk by themselves."""
        try:
            return self.function(*arguments)
        except StorageError as error:
            return str(error)

    def checkpoint(self, *arguments: Any) -> Any:
        """Queue the job again; submitit calls this before it ends a job, when the state has been saved."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *arguments)


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
