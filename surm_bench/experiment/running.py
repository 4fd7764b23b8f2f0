"""Running what is missing: in this process, or through one of Hydra's launchers (joblib, submitit, …)."""

from collections.abc import Sequence
from pathlib import Path

from hydra import compose
from hydra._internal.callbacks import Callbacks  # a launcher's context needs them, and nothing public makes them
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from surm_bench.cli import first_lines
from surm_bench.errors import UserError
from surm_bench.experiment.jobs import Job, composed, composer
from surm_bench.experiment.matching import Runs
from surm_bench.records import Claimed


def run_jobs(jobs: Sequence[Job], folder: Path, title: str, places: Sequence[str] = ()) -> list[str]:
    """Run one after the other in this process what has no result yet; a failure does not stop the rest, and a run that
    another process trains is left to it.

    Args:
        folder: where records go.
        places: see surm_bench.experiment.jobs.composed.

    Returns:
        One line for each job that failed; its record says so too.
    """
    from surm_bench.runner import run  # torch: not before it is needed

    with composer():
        runs = Runs(folder, places)
        jobs = [job for job in jobs if runs.result(job) is None]
    failures = []
    columns = (
        *(TextColumn("[bold]{task.fields[title]}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()),
        *(TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.description}")),
    )
    with composer(), Progress(*columns) as progress:
        bar = progress.add_task("", total=len(jobs), title=title)
        for number, job in enumerate(jobs, 1):
            progress.update(bar, description=job.title)
            if not progress.console.is_terminal:  # no bar in a log: a line a run instead
                progress.console.print(f"{title} {number}/{len(jobs)}: {job.title}", highlight=False)
            try:
                cfg = composed(job, (*places, f"results_dir={folder}"))
                run(cfg, report=lambda line: None, command=job.command)
            except Claimed as error:
                progress.console.print(f"left to another process: {error}", highlight=False, markup=False)
            except Exception as error:  # its record says failed; the rest goes on
                failures.append(f"{job.title}: {error}".replace("\n", " "))
                progress.console.print(f"failed {failures[-1]}", style="red", highlight=False, markup=False)
            progress.advance(bar)
    return failures


def launch_jobs(
    jobs: Sequence[Job], folder: Path, launcher: str, options: Sequence[str] = (), places: Sequence[str] = ()
) -> list[str]:
    """The same through a Hydra launcher, which may run several at once or elsewhere.

    Args:
        launcher: a choice of hydra/launcher, as joblib (hydra-joblib-launcher) or submitit_slurm.
        options: overrides of the launcher itself, as hydra.launcher.n_jobs=2.

    Raises:
        UserError: a launcher that is not installed, or an option that it does not take.
    """
    with composer():
        waiting = Runs(folder, places).waiting(jobs)
    if not waiting:
        return []
    where = (*places, f"results_dir={folder}")
    with composer():
        plugin = _launcher(launcher, (*options, f"hydra.sweep.dir={folder}/launcher"))
        returned = plugin.launch([[*job.arguments(), *where] for job in waiting], initial_job_idx=0)
    told = [job_return.return_value for job_return in returned]
    return [f"{job.title}: {line}" for job, line in zip(waiting, told, strict=True) if line]


def _launcher(name: str, options: Sequence[str]) -> Launcher:
    try:
        config = compose("config", [f"hydra/launcher={name}", *options], return_hydra_config=True)
    except HydraException as error:
        raise UserError(f"launcher {name!r} with {list(options)}: {first_lines(error)}") from error
    HydraConfig.instance().set_config(config)
    context = HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=Callbacks())
    return Plugins.instance().instantiate_launcher(hydra_context=context, task_function=_run_one, config=config)


def _run_one(cfg: DictConfig) -> str | None:
    """One job, wherever the launcher put it; returns what went wrong, so that the other jobs go on."""
    from surm_bench.runner import run

    try:
        run(cfg, report=lambda line: Console().print(line, highlight=False, markup=False, soft_wrap=True))
    except Claimed:
        return None
    except Exception as error:
        return f"{error}".replace("\n", " ")
    return None
