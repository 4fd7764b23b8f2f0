"""Choose the settings of a grid that tuning tries next: a pure function of the scores so far, equal for every adapter.

1. Try every combination of the given values. With ``survivors``, try the combinations for a third of the steps, and
   only the best of them in full. If all survivors diverge, try the next best combination in full.
2. While the best setting is at the end of a range and steps are left, the range grows by one value. The ratio of the
   new value to the old end is the ratio of the old end to its neighbour.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from surm_bench.experiment.definition import Knobs, Setting

SHORT = 3  # a short run has the full schedule in a third of the steps


def short_steps(steps: int) -> int:
    """Return the number of optimiser steps of a short run, from the number of a full run."""
    return -(-steps // SHORT)


@dataclass(frozen=True)
class Trial:
    """A setting tried on every tuning seed or only on the first seed, in full or for a third of the steps."""

    setting: Setting
    short: bool = False
    first_seed: bool = False


@dataclass(frozen=True)
class Budget:
    """The optimiser steps that all trials of one adapter on one task may take, and the steps of one trial.

    Attributes:
        steps: the total; 0 stands for the steps of the first values.
        full, short: the steps of one full or short trial on all tuning seeds; 0 if runs are counted in epochs.
    """

    steps: int = 0
    full: int = 0
    short: int = 0

    def left(self, trials: Sequence[Trial]) -> int:
        """Return the steps that these trials leave; below 0 if the trials take more than the budget."""
        return self.steps - sum(map(self.of, trials))

    def allows_another(self, trials: Sequence[Trial]) -> bool:
        """Whether the budget allows another full trial after these trials."""
        return self.steps > 0 and self.left(trials) >= self.full

    def of(self, trial: Trial) -> int:
        """Return the steps of a trial."""
        return self.short if trial.short else self.full


Scores = Mapping[Trial, Sequence[float] | None]  # a score per tuning seed; None: a run diverged or was given up


@dataclass(frozen=True)
class Search:
    """The state of a search.

    Attributes:
        trials: all trials wanted so far.
        chosen: the best setting; None while trials are missing, or if no setting can be chosen.
        at_edge: the knobs whose chosen value is at the end of the values tried, because the steps were spent or, with
            finalists, because another value was best on the first seed.
    """

    trials: list[Trial]
    chosen: Setting | None = None
    at_edge: tuple[str, ...] = ()


def search(
    knobs: Knobs,
    settings: Sequence[Setting],
    scores: Scores,
    *,
    greater_is_better: bool = True,
    survivors: int | None = None,
    budget: Budget = Budget(),  # noqa: B008 (frozen)
) -> Search:
    """Return the trials wanted, given the scores of the finished trials.

    Args:
        knobs: the values tried first, in rising order.
        settings: every combination of these values.
        budget: ranges grow while the budget allows another full trial.
    """
    sign = 1 if greater_is_better else -1
    trials = _grid(settings, survivors)
    if any(trial not in scores for trial in trials):
        return Search(trials)
    reserve: list[Trial] = []  # the next best settings of the short trials, used if all survivors diverge
    if trials[0].short:
        best_first = sorted(_eligible(trials, scores), key=lambda trial: -sign * fmean(scores[trial]))
        full = [Trial(trial.setting) for trial in best_first]
        trials, reserve = trials + full[:survivors], full[survivors:]
    ranges = {knob: list(values) for knob, values in knobs.items()}
    while True:
        full = [trial for trial in trials if not trial.short]
        if any(trial not in scores for trial in full):
            return Search(trials)
        best = max(_eligible(full, scores), key=lambda trial: sign * fmean(scores[trial]), default=None)
        if best is None:
            if not reserve or (budget.steps and not budget.allows_another(trials)):
                return Search(trials)
            trials.append(reserve.pop(0))
            continue
        at_edge = beyond_the_ends(dict(best.setting), ranges)
        if not at_edge or not budget.allows_another(trials):
            return Search(trials, best.setting, tuple(at_edge))
        knob, beyond = next(iter(at_edge.items()))
        ranges[knob] = sorted([*ranges[knob], beyond])
        trials.append(Trial(tuple((key, beyond if key == knob else value) for key, value in best.setting)))


def first_trials(settings: Sequence[Setting], survivors: int | None) -> list[Trial]:
    """Return the trials of the first values, and placeholder full trials of the survivors, which all cost the same."""
    trials = _grid(settings, survivors)
    return trials + ([Trial(setting) for setting in settings[:survivors]] if trials[0].short else [])


def _grid(settings: Sequence[Setting], survivors: int | None) -> list[Trial]:
    return [Trial(setting, short=bool(survivors) and survivors < len(settings)) for setting in settings]


def _eligible(trials: Sequence[Trial], scores: Scores) -> list[Trial]:
    return [trial for trial in trials if scores[trial] is not None]


def beyond_the_ends(setting: Mapping[str, float], ranges: Knobs) -> dict[str, float]:
    """Return the knobs whose value is at an end of the range, each with the next value beyond that end."""
    beyond = {}
    for knob, value in setting.items():
        values = ranges[knob]
        if len(values) > 1 and value in (values[0], values[-1]):
            neighbour = values[1] if value == values[0] else values[-2]
            beyond[knob] = float(f"{value * value / neighbour:.3g}")
    return beyond
