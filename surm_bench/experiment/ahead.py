"""Remaining runs of an experiment, with placeholder settings where tuning has not chosen a setting yet.

A placeholder is enough to estimate times, because the setting does not change how long a run takes.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import product

from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.evidence import Evidence
from surm_bench.experiment.jobs import Job, budget, reported_jobs, trial_jobs
from surm_bench.experiment.search import Trial, first_trials
from surm_bench.experiment.tuning import Tuned


@dataclass(frozen=True)
class Left:
    """The remaining runs of an experiment.

    Attributes:
        wanted: how many runs are wanted so far, finished runs included.
        waiting: the wanted runs that are still to be run.
        survivors, growth, reports: later runs, from survivors_ahead, growth_ahead (an upper bound) and reports_ahead.
    """

    wanted: int
    waiting: list[Job]
    survivors: list[Job]
    growth: list[Job]
    reports: list[Job]

    @property
    def sure(self) -> list[Job]:
        """All remaining runs except the trials of growing ranges, which may not be needed."""
        return [*self.waiting, *self.survivors, *self.reports]


def runs_left(evidence: Evidence) -> Left:
    """Return the remaining runs of an experiment."""
    wanted = [*evidence.tuned.jobs, *evidence.reported]
    following = [later(evidence.experiment, evidence.tuned) for later in (survivors_ahead, growth_ahead, reports_ahead)]
    return Left(len(wanted), evidence.runs.waiting(wanted), *following)


def survivors_ahead(experiment: Experiment, state: Tuned) -> list[Job]:
    """Return the trials that follow the trials wanted so far.

    These are full trials of the settings that survive short trials. With finalists, these are the settings not yet
    tried and the runs of the finalists.
    """
    if experiment.tuning.finalists:
        return _coordinates_ahead(experiment, state)
    tuning, wanted = experiment.tuning, _full_trials(experiment, state)
    return [
        job
        for (task, adapter), full in wanted.items()
        if not full and tuning.survivors and tuning.survivors < len(experiment.settings(adapter))
        for setting in experiment.settings(adapter)[: tuning.survivors]
        for job in trial_jobs(experiment, task, adapter, Trial(setting))
    ]


def _coordinates_ahead(experiment: Experiment, state: Tuned) -> list[Job]:
    wanted = Counter((job.task, job.adapter, job.seed) for job in state.jobs)
    first, *others = experiment.tuning.seeds
    ahead = []
    for task, adapter in product(experiment.tasks, experiment.adapters):
        settings = experiment.settings(adapter)
        if (task, adapter) not in {*state.choices, *state.problems} and len(settings) > 1:
            one, *rest = trial_jobs(experiment, task, adapter, Trial(settings[0]))
            most = max(wanted[task, other, first] for other in experiment.adapters)
            ahead += [one] * max(0, max(most, len(settings)) - wanted[task, adapter, first])
            if not any(wanted[task, adapter, seed] for seed in others):
                ahead += rest * min(experiment.tuning.finalists, len(settings))
    return ahead


def growth_ahead(experiment: Experiment, state: Tuned) -> list[Job]:
    """Return the largest number of trials that growing ranges may add within the budget of steps."""
    tuning, ahead = experiment.tuning, []
    for (task, adapter), full in _full_trials(experiment, state).items():
        settings = experiment.settings(adapter)
        trial = trial_jobs(experiment, task, adapter, Trial(settings[0]))
        allowed, first = budget(experiment, task), first_trials(settings, tuning.survivors)
        grown = full - sum(not one.short for one in first)
        ahead += trial * max(0, allowed.left(first) // max(1, allowed.full) - max(0, grown))
    return ahead


def reports_ahead(experiment: Experiment, state: Tuned) -> list[Job]:
    """Return the reported runs that wait for a setting, without the pairs for which no setting can be chosen."""
    settled = {*state.choices, *state.problems}
    pairs = product(experiment.tasks, experiment.adapters)
    waiting = {pair: experiment.settings(pair[1])[0] for pair in pairs if pair not in settled}
    return reported_jobs(experiment, waiting)


def _full_trials(experiment: Experiment, state: Tuned) -> dict[tuple[str, str], int]:
    """Count the full trials wanted so far, for each task and adapter whose search has not ended."""
    wanted = Counter((job.task, job.adapter, job.overrides) for job in state.jobs)
    counts = {}
    for task, adapter in product(experiment.tasks, experiment.adapters):
        if (task, adapter) not in {*state.choices, *state.problems}:
            full = trial_jobs(experiment, task, adapter, Trial(experiment.settings(adapter)[0]))
            counts[task, adapter] = wanted[task, adapter, full[0].overrides] // len(full)
    return counts
