"""Make the short runs from which the time of an experiment on this device is estimated."""

import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch

from surm_bench.experiment.calibration import CALIBRATION, Calibration, device_of, kind, linked, short_runs
from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.jobs import Job, resolved
from surm_bench.experiment.refusals import startable
from surm_bench.experiment.running import run_jobs
from surm_bench.records import Archive
from surm_bench.system import environment
from surm_bench.training import use_device


def calibrate(experiment: Experiment, jobs: Sequence[Job], folder: Path, places: Sequence[str] = ()) -> list[str]:
    """Make enough short runs to estimate these jobs. Short runs of another device are removed first.

    Args:
        folder: the experiment's folder of results.
        places: see surm_bench.experiment.commands.Options.

    Returns:
        A line for each reason why runs could not be timed.
    """
    if not jobs:
        return []
    use_device(resolved(jobs[0]).trainer.device)
    here = environment.device_kind(), torch.get_num_threads()
    shorts = folder / CALIBRATION
    if {device_of(record) for record in Archive(shorts).records()} - {here}:
        shutil.rmtree(shorts)
    left = {(kind(job), job.adapter) for job in jobs}
    runs = [run for run in short_runs(experiment) if (kind(run), run.adapter) in left]
    ready, problems = startable(runs, shorts, places)
    known = Calibration(experiment, folder, places)
    if not to_time(ready, known):
        print(f"all that can be timed is timed; to time it again, remove {shorts}")
    while wanted := to_time(ready, known):
        problems += run_jobs(wanted, shorts, f"calibrating {experiment.name}", places)
        known = Calibration(experiment, folder, places)
        failed = [run for run in wanted if run.adapter not in known.timed[kind(run)]]
        ready = [run for run in ready if run not in failed]  # other adapters take the place of those that failed
    return [f"not timed: {problem}" for problem in problems]


def to_time(runs: Sequence[Job], known: Calibration) -> list[Job]:
    """Return the runs whose times do not follow from the known times and those of the runs before."""
    timed = defaultdict(set, {of: set(adapters) for of, adapters in known.timed.items()})
    wanted = []
    for run in runs:
        if linked(timed, kind(run), run.adapter) is None:
            timed[kind(run)].add(run.adapter)
            wanted.append(run)
    return wanted
