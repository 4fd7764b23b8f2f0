"""Find the runs that cannot start before any run starts: one line for each reason, with its number of runs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from surm_bench.config import composition
from surm_bench.errors import UserError
from surm_bench.experiment.contents import Content, declared, read_label_names, with_content
from surm_bench.experiment.jobs import Job


def startable(jobs: Sequence[Job], folder: Path, local: Sequence[str]) -> tuple[list[Job], list[str]]:
    """Return the jobs that can start, and a line for each reason why other jobs cannot start.

    The configuration, its data and its weights are checked once for each task and adapter, without seed and setting.

    Args:
        folder: the results folder, where records are written.
        local: see surm_bench.experiment.jobs.resolved.
    """
    reasons: dict[tuple, str] = {}
    for job in jobs:
        method = (job.overrides, job.method)
        if method not in reasons:
            reasons[method] = _reason([*job.overrides, *job.method, *local], folder)
    refused = [reason for job in jobs if (reason := reasons[job.overrides, job.method])]
    ready = [job for job in jobs if not reasons[job.overrides, job.method]]
    counts = Counter(refused).items()
    return ready, [f"{count} run{'s' * (count != 1)} cannot start: {reason}" for reason, count in counts]


def _reason(overrides: Sequence[str], folder: Path) -> str:
    """Return the reason why a run of these overrides is refused; an empty text if the run can start."""
    from surm_bench.run.runner import checked  # imports torch, which a plan does not need
    from surm_bench.tracking import check_tracking

    try:
        config = composition.resolved(overrides)
        for content in declared(config):
            if refusal := _refusal(content):
                return refusal
        known = {"label_names": read_label_names(config)}
        checked(with_content(config).having(results_dir=str(folder), task=known))
        check_tracking(config.tracking)
    except UserError as error:
        return str(error)
    return ""


@cache
def _refusal(content: Content) -> str:
    """Return the reason why data or weights cannot be read or differ from the declared digest, else an empty text."""
    from surm_bench.models.digest import check_model
    from surm_bench.tasks import TaskReader

    config = replace(content.config, digest=content.digest)
    try:
        if content.group == "model":
            check_model(config)
        else:
            _ = TaskReader(config).datasets
    except UserError as error:
        return str(error)
    return ""
