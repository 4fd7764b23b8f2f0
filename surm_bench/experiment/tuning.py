"""The settings that tuning chose, derived from the records of the tuning runs by one rule for every adapter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import product
from typing import TYPE_CHECKING

from surm_bench.experiment.coordinate_search import coordinate_search
from surm_bench.experiment.definition import Experiment, Setting
from surm_bench.experiment.jobs import Choices, Job, budget, seeds_of, trial_jobs
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.search import Search, Trial, search

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Tuned:
    """The state of the tuning of an experiment.

    Attributes:
        jobs: every run wanted so far; more runs may be wanted when these are done.
        choices: the chosen setting of each pair of task and adapter whose search has ended.
        at_edge: the knobs whose chosen value is at the end of the values tried, by pair.
        problems: a line for each pair without a choice although its runs are done.
        tried: the rows of the property scores: one for each trial and seed.
    """

    jobs: list[Job] = field(default_factory=list)
    choices: Choices = field(default_factory=dict)
    at_edge: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    problems: dict[tuple[str, str], str] = field(default_factory=dict)
    tried: list[dict] = field(default_factory=list)

    def of_rows(self, rows: Sequence[str]) -> "Tuned":
        """Return the state of these adapters; of all adapters if none is named."""
        if not rows:
            return self
        by_pair = (
            {pair: value for pair, value in values.items() if pair[1] in rows}
            for values in (self.choices, self.at_edge, self.problems)
        )
        jobs = [job for job in self.jobs if job.adapter in rows]
        return Tuned(jobs, *by_pair, [row for row in self.tried if row["adapter"] in rows])

    @cached_property
    def scores(self) -> "pd.DataFrame":
        """A row for each trial and seed: task, adapter, setting, steps (None: counted in epochs), full (false: a third
        of the steps), seed, score, chosen."""
        import pandas as pd  # the import takes half a second, and a plan does not need pandas

        columns = ["task", "adapter", "setting", "steps", "full", "seed", "score", "chosen"]
        return pd.DataFrame(self.tried, columns=columns).astype({"full": bool, "chosen": bool})


def tuned(experiment: Experiment, runs: Runs) -> Tuned:
    """Return the state of the search for every pair of task and adapter, from records only."""
    state = Tuned()
    for task in experiment.tasks:
        searches = _searches(experiment, task, runs)
        wanted = {
            adapter: [job for trial in searched.trials for job in trial_jobs(experiment, task, adapter, trial)]
            for adapter, (searched, _) in searches.items()
        }
        everything = [job for jobs in wanted.values() for job in jobs]
        for adapter, (searched, tried) in searches.items():
            jobs = wanted[adapter]
            state.jobs.extend(dict.fromkeys(jobs))
            state.tried.extend(_distinct(tried, searched.chosen))
            if searched.chosen is not None:
                state.choices[task, adapter] = searched.chosen
                state.at_edge[task, adapter] = searched.at_edge
            # With finalists, an adapter may get more settings once the others have theirs.
            elif not runs.waiting(everything if experiment.tuning.finalists else jobs):
                state.problems[task, adapter] = f"no setting of {adapter} on {task} finished on every tuning seed"
    return state


def undecided(experiment: Experiment, state: Tuned) -> list[str]:
    """Return a line that names the pairs not tuned yet; an empty list when tuning is done."""
    settled = {*state.choices, *state.problems}
    pairs = product(experiment.tasks, experiment.adapters)
    missing = [f"{adapter} on {task}" for task, adapter in pairs if (task, adapter) not in settled]
    if not missing:
        return []
    some = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    return [f"not tuned yet: {some}; `surm-bench tune {experiment.name}` tunes them"]


Searched = tuple[Search, list[dict]]  # the search for one pair, and a row for each trial and seed tried
Rule = Callable[..., Search]  # search or coordinate_search, still without the scores


def _searches(experiment: Experiment, task: str, runs: Runs) -> dict[str, Searched]:
    """Return the search for each adapter on a task.

    With finalists, first give every adapter as many settings as the adapter with the most, and only then try finalists.
    """
    tuning = experiment.tuning

    def by(rule: Callable[[str], Rule]) -> dict[str, Searched]:
        return {adapter: _search(experiment, task, adapter, runs, rule(adapter)) for adapter in experiment.adapters}

    def grid(adapter: str) -> Rule:
        first = experiment.knobs(adapter), experiment.settings(adapter)
        return partial(search, *first, survivors=tuning.survivors, budget=budget(experiment, task))

    def coordinates(finalists: int | None, settings: int) -> dict[str, Searched]:
        how = {"finalists": finalists, "settings": settings}
        return by(lambda adapter: partial(coordinate_search, experiment.knobs(adapter), **how))

    if not tuning.finalists:
        return by(grid)
    searches = coordinates(None, 0)
    searches = coordinates(None, max(len(searched.trials) for searched, _ in searches.values()))
    if any(runs.waiting(trial_jobs(experiment, task, a, t)) for a, (s, _) in searches.items() for t in s.trials):
        return searches
    return coordinates(tuning.finalists, max(len(searched.trials) for searched, _ in searches.values()))


def _search(experiment: Experiment, task: str, adapter: str, runs: Runs, rule: Rule) -> Searched:
    """Return the search for one pair by a rule, with the scores from records."""
    if not experiment.knobs(adapter):
        return Search([], chosen=()), []
    allowed = budget(experiment, task)
    scores: dict[Trial, Sequence[float] | None] = {}
    rows: list[dict] = []
    rising = True
    while True:
        searched = rule(scores, greater_is_better=rising)
        untried = [trial for trial in searched.trials if trial not in scores]
        new = {trial: _tried(experiment, task, adapter, trial, runs) for trial in untried}
        known = {trial: values for trial, values in new.items() if values is not None}
        if not known:
            return searched, rows
        rising = _greater_is_better(experiment, task, adapter, [*scores, *known], runs)
        for trial, values in known.items():
            scores[trial] = None if None in values else values
            about = {"task": task, "adapter": adapter, "setting": _setting_text(trial.setting), "trial": trial}
            about |= {"steps": allowed.of(trial) // len(experiment.tuning.seeds) or None, "full": not trial.short}
            seeds = seeds_of(experiment, trial)
            rows += [about | {"seed": seed, "score": value} for seed, value in zip(seeds, values, strict=True)]


def _distinct(tried: Sequence[dict], chosen: Setting | None) -> list[dict]:
    """Return the row of each run once, marked as chosen if it is a full run of the chosen setting."""
    distinct = {}
    for row in tried:
        trial = row["trial"]
        is_chosen = trial.setting == chosen and not trial.short
        distinct[trial.setting, trial.short, row["seed"]] = row | {"chosen": is_chosen}
    return list(distinct.values())


def _tried(experiment: Experiment, task: str, adapter: str, trial: Trial, runs: Runs) -> list[float | None] | None:
    """Return the score of each tuning seed (None: diverged or given up); return None if a run is missing."""
    jobs = trial_jobs(experiment, task, adapter, trial)
    if runs.waiting(jobs):
        return None
    results = [runs.result(job) for job in jobs]
    return [None if result is None else result.score for result in results]


def _greater_is_better(experiment: Experiment, task: str, adapter: str, trials: Sequence[Trial], runs: Runs) -> bool:
    """Return greater_is_better of the first record of these trials; true without a record."""
    jobs = (job for trial in trials for job in trial_jobs(experiment, task, adapter, trial))
    records = (record for job in jobs if (record := runs.result(job)) is not None)
    return next((record.greater_is_better for record in records), True)


def _setting_text(setting: Setting) -> str:
    return " ".join(f"{knob}={value:g}" for knob, value in setting)
