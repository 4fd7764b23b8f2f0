"""Which settings of a grid tuning tries next: a pure function of the scores so far, the same for every adapter.

First every combination of the given values, where ``survivors`` is given for a third of the steps, and the best of
these in full; where all of them diverge, the next best. Then, as long as the best setting is at the end of a range and
steps are left, that range grows by one value, as far from its end as the end is from its neighbour (in ratio).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from surm_bench.experiment.definition import Knobs, Setting

SHORT = 3  # a short run has the full schedule over this part of the steps


def short_steps(steps: int) -> int:
    """How many optimiser steps a short run takes of these."""
    return -(-steps // SHORT)


@dataclass(frozen=True)
class Trial:
    """A setting tried on every tuning seed or on the first one alone, in full or for a third of the steps."""

    setting: Setting
    short: bool = False
    first_seed: bool = False


@dataclass(frozen=True)
class Budget:
    """Optimiser steps that the trials of one adapter on one task may take in all, and what one trial takes.

    Attributes:
        steps: 0 for what the first values take.
        full, short: of one trial on all tuning seeds; 0 where runs are counted in epochs.
    """

    steps: int = 0
    full: int = 0
    short: int = 0

    def left(self, trials: Sequence[Trial]) -> int:
        """What these trials leave of it; below 0 where they take more."""
        return self.steps - sum(map(self.of, trials))

    def allows_another(self, trials: Sequence[Trial]) -> bool:
        """Whether one in full can be added to these."""
        return self.steps > 0 and self.left(trials) >= self.full

    def of(self, trial: Trial) -> int:
        """What a trial takes."""
        return self.short if trial.short else self.full


Scores = Mapping[Trial, Sequence[float] | None]  # one a tuning seed; None: it cannot be chosen (diverged, gave up)


@dataclass(frozen=True)
class Search:
    """Where the search stands.

    Attributes:
        trials: all that are wanted so far.
        chosen: the best setting; None as long as trials are missing, or where none can be chosen.
        at_edge: the knobs of the chosen setting whose range ended there when the steps were spent.
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
    """The trials wanted, given the scores of those that are done.

    Args:
        knobs: the values tried first, rising.
        settings: every combination of them.
        budget: ranges grow as long as a full trial is left of it.
    """
    sign = 1 if greater_is_better else -1
    trials = _grid(settings, survivors)
    if any(trial not in scores for trial in trials):
        return Search(trials)
    reserve: list[Trial] = []  # the next best after a third of the steps, for survivors that all diverge
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
    """The first values and, of the same cost whichever they are, the survivors among them."""
    trials = _grid(settings, survivors)
    return trials + ([Trial(setting) for setting in settings[:survivors]] if trials[0].short else [])


def _grid(settings: Sequence[Setting], survivors: int | None) -> list[Trial]:
    return [Trial(setting, short=bool(survivors) and survivors < len(settings)) for setting in settings]


def _eligible(trials: Sequence[Trial], scores: Scores) -> list[Trial]:
    return [trial for trial in trials if scores[trial] is not None]


def beyond_the_ends(setting: Mapping[str, float], ranges: Knobs) -> dict[str, float]:
    """Return the knobs that are at an end of their range, and the next value beyond."""
    found = {}
    for knob, value in setting.items():
        values = ranges[knob]
        if len(values) > 1 and value in (values[0], values[-1]):
            neighbour = values[1] if value == values[0] else values[-2]
            found[knob] = float(f"{value * value / neighbour:.3g}")
    return found
