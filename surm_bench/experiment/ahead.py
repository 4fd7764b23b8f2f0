"""Runs that become due once others are done, as stand-ins for estimates of time: their settings are not known yet.

A run takes as long whatever its setting is.
"""

from collections import Counter
from itertools import product

from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.jobs import Job, budget, reported_jobs, trial_jobs
from surm_bench.experiment.search import Trial, first_trials
from surm_bench.experiment.tuning import Tuned


def survivors_ahead(experiment: Experiment, state: Tuned) -> list[Job]:
    """The full trials of those that short ones let through, where none is wanted yet."""
    tuning, wanted = experiment.tuning, _full_trials(experiment, state)
    return [
        job
        for (task, adapter), full in wanted.items()
        if not full and tuning.survivors and tuning.survivors < len(experiment.settings(adapter))
        for setting in experiment.settings(adapter)[: tuning.survivors]
        for job in trial_jobs(experiment, task, adapter, Trial(setting))
    ]


def growth_ahead(experiment: Experiment, state: Tuned) -> list[Job]:
    """The trials by which ranges may grow within the budget of steps, at most."""
    tuning, found = experiment.tuning, []
    for (task, adapter), full in _full_trials(experiment, state).items():
        settings = experiment.settings(adapter)
        trial = trial_jobs(experiment, task, adapter, Trial(settings[0]))
        allowed, first = budget(experiment, task), first_trials(settings, tuning.survivors)
        grown = full - sum(not one.short for one in first)
        found += trial * max(0, allowed.left(first) // max(1, allowed.full) - max(0, grown))
    return found


def reports_ahead(experiment: Experiment, state: Tuned) -> list[Job]:
    """The reported runs that wait for their setting."""
    pairs = product(experiment.tasks, experiment.adapters)
    waiting = {pair: experiment.settings(pair[1])[0] for pair in pairs if pair not in state.choices}
    return reported_jobs(experiment, waiting)


def _full_trials(experiment: Experiment, state: Tuned) -> dict[tuple[str, str], int]:
    """How many full trials are wanted so far, for each pair whose search is not at its end."""
    wanted = Counter((job.task, job.adapter, job.overrides) for job in state.jobs)
    found = {}
    for task, adapter in product(experiment.tasks, experiment.adapters):
        if (task, adapter) not in {*state.choices, *state.problems}:
            full = trial_jobs(experiment, task, adapter, Trial(experiment.settings(adapter)[0]))
            found[task, adapter] = wanted[task, adapter, full[0].overrides] // len(full)
    return found
