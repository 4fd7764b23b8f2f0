"""Choose the settings that tuning tries next if every run has full length: a pure function of the scores so far.

1. The values of the first knob (a learning rate), with the first value of every other knob, on the first tuning seed.
   While the best value is at an end of the range, the range grows by one value, without limit.
2. The other values of each further knob, at the best values so far.
3. More values of the first knob, each halfway (in ratio) between the best value and its better neighbour, until the
   method has as many runs as every other method of the task.
4. The best settings again on all tuning seeds. The setting with the best mean is chosen.
"""

from collections.abc import Iterable
from math import sqrt
from statistics import fmean

from surm_bench.experiment.definition import Knobs, Setting
from surm_bench.experiment.search import Scores, Search, Trial, beyond_the_ends


class Missing(Exception):
    """Raised when a wanted trial has no score yet."""


def coordinate_search(
    knobs: Knobs, scores: Scores, *, finalists: int | None, settings: int = 0, greater_is_better: bool = True
) -> Search:
    """Return the trials wanted, given the scores of the finished trials.

    Args:
        knobs: the values of each knob: in rising order for the first knob, with the default first for further knobs.
        finalists: how many of the best settings are tried on all tuning seeds; None: not yet.
        settings: the smallest number of settings to try.
    """
    state = _State(scores, 1 if greater_is_better else -1)
    try:
        chosen = _search(knobs, state, finalists, settings)
    except Missing:
        chosen = None
    return Search(state.trials, chosen, _at_edge(knobs, state, chosen) if chosen else ())


def _search(knobs: Knobs, state: "_State", finalists: int | None, settings: int) -> Setting | None:
    knob, *others = knobs
    best = dict.fromkeys(knobs) | {name: float(knobs[name][0]) for name in others}
    values = [float(value) for value in knobs[knob]]
    state.want(best | {knob: value} for value in values)
    while (best := state.best()) and (end := beyond_the_ends({knob: best[knob]}, {knob: values})):
        values = sorted([*values, end[knob]])
        state.want([best | end])
    for name in others:
        if best:
            state.want(best | {name: float(value)} for value in knobs[name][1:])
            best = state.best()
    while best and len(state.on_first_seed) < settings and len(values) > 1:
        halfway = _halfway(best[knob], knob, values, state)
        if halfway in values:  # closer values are equal in three digits
            break
        values = sorted([*values, halfway])
        state.want([best | {knob: halfway}])
        best = state.best()
    return state.final(finalists) if best and finalists else None


def _at_edge(knobs: Knobs, state: "_State", chosen: Setting) -> tuple[str, ...]:
    """Return the first knob if the chosen value, the best over all seeds, is the smallest or largest value tried."""
    knob = next(iter(knobs))
    values = sorted({dict(trial.setting)[knob] for trial in state.trials})
    return tuple(beyond_the_ends({knob: dict(chosen)[knob]}, {knob: values}))


def _halfway(best: float, knob: str, values: list[float], state: "_State") -> float:
    """Return the geometric mean of the best value and the neighbour with the better score."""
    place = values.index(best)
    neighbours = [values[at] for at in (place - 1, place + 1) if 0 <= at < len(values)]
    return float(f"{sqrt(best * max(neighbours, key=lambda value: state.score_of(knob, value))):.3g}")


class _State:
    """The trials wanted so far, and the scores of the finished trials."""

    def __init__(self, scores: Scores, sign: int) -> None:
        self.trials: list[Trial] = []
        self._scores, self._sign = scores, sign

    @property
    def on_first_seed(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.first_seed]

    def want(self, settings: Iterable[dict[str, float]]) -> None:
        """Add a trial on the first seed for each setting; raise Missing if a trial has no score yet."""
        self._add([Trial(tuple(setting.items()), first_seed=True) for setting in settings])

    def score_of(self, knob: str, value: float) -> float:
        """Return the best first-seed score with this value of the knob; minus infinity if every such run diverged."""
        return max(self._mean(trial) for trial in self.on_first_seed if dict(trial.setting)[knob] == value)

    def best(self) -> dict[str, float] | None:
        """Return the best setting so far; None if every run diverged."""
        best = max(self.on_first_seed, key=self._mean)
        return dict(best.setting) if self._scores[best] is not None else None

    def final(self, finalists: int) -> Setting | None:
        """Return the finalist with the best mean over all seeds. Finalists are the best settings on the first seed.

        If all finalists diverge on another seed, try the next best setting. None if no setting is left.
        """
        ranked = sorted(self.on_first_seed, key=self._mean, reverse=True)
        ranked = [Trial(trial.setting) for trial in ranked if self._scores[trial] is not None]
        while True:
            self._add([trial for trial in ranked[:finalists] if trial not in self.trials])
            best = max(ranked[:finalists], key=self._mean)
            if self._scores[best] is not None:
                return best.setting
            if finalists >= len(ranked):
                return None
            finalists += 1

    def _add(self, trials: list[Trial]) -> None:
        self.trials += trials
        if any(trial not in self._scores for trial in trials):
            raise Missing

    def _mean(self, trial: Trial) -> float:
        values = self._scores.get(trial)
        return -float("inf") if values is None else self._sign * fmean(values)
