"""The search for settings, on scores made up by hand: what it tries, in which order, and what it chooses."""

from itertools import product
from math import log10

import pytest

from surm_bench.experiment.search import Budget, Search, Trial, search

LR, ALPHA = "optimizer.lr", "adapter.peft.lora_alpha"
RATES = [1e-3, 1e-2, 1e-1]


def settings_of(knobs):
    return [tuple(zip(knobs, values, strict=True)) for values in product(*knobs.values())]


def found(surface, knobs, **options) -> tuple[Search, list[Trial]]:
    """Run what the search asks for until it is at its end; all trials in the order in which they were wanted.

    surface: knob values -> score, or None where a run diverges; of a short trial ``short`` is given, too.
    """
    scores, order = {}, []
    while True:
        state = search(knobs, settings_of(knobs), scores, **options)
        missing = [trial for trial in state.trials if trial not in scores]
        if not missing:
            return state, order
        assert state.chosen is None and state.at_edge == (), "nothing is chosen before all is known"
        for trial in missing:
            value = surface(*(value for _, value in trial.setting), **({"short": True} if trial.short else {}))
            scores[trial] = None if value is None else [value - 0.01, value + 0.01]  # two tuning seeds
        order += missing


def trials_in_full(count: float) -> Budget:
    return Budget(steps=round(30 * count), full=30, short=10)


def tried(trials, knob=LR):
    return [dict(trial.setting)[knob] for trial in trials]


def hill(top):
    """The best rate is ``top``; the score falls with the distance in decades."""
    return lambda lr: 1 - abs(log10(lr / top))


def test_a_grid_alone():
    state, order = found(hill(1e-2), {LR: RATES})
    assert tried(order) == RATES and not any(trial.short for trial in order)
    assert state == Search(order, ((LR, 1e-2),), ())


def test_the_best_mean_over_the_seeds_is_chosen_not_the_best_seed():
    knobs = {LR: RATES}
    trials = [Trial(setting) for setting in settings_of(knobs)]
    scores = dict(zip(trials, ([0.1, 0.2], [0.5, 0.5], [0.0, 0.9]), strict=True))
    assert search(knobs, settings_of(knobs), scores).chosen == ((LR, 1e-2),)


def test_without_steps_to_spend_an_edge_is_told():
    for top, end in ((1e-5, 1e-3), (1e3, 1e-1)):
        state, order = found(hill(top), {LR: RATES})
        assert len(order) == 3 and (state.chosen, state.at_edge) == (((LR, end),), (LR,))


@pytest.mark.parametrize(
    ("top", "further", "chosen"),
    [(1e1, [1.0, 10.0, 100.0], 10.0), (1e-5, [1e-4, 1e-5, 1e-6], 1e-5), (0.08, [1.0], 0.1), (1e-2, [], 1e-2)],
)
def test_a_range_grows_at_the_end_where_the_best_is_until_it_is_inside(top, further, chosen):
    state, order = found(hill(top), {LR: RATES}, budget=trials_in_full(99))
    assert tried(order) == [*RATES, *map(pytest.approx, further)]
    assert (state.chosen, state.at_edge) == (((LR, pytest.approx(chosen)),), ())


def test_a_range_grows_by_the_ratio_at_its_end():
    """0.5 is five times 0.1, so that 2.5 follows; below 0.01 comes 0.001, for 0.1 is ten times that."""
    _, order = found(hill(10), {LR: [0.01, 0.1, 0.5]}, budget=trials_in_full(4))
    assert tried(order)[3:] == [2.5]
    _, order = found(hill(1e-9), {LR: [0.01, 0.1, 0.5]}, budget=trials_in_full(4))
    assert tried(order)[3:] == [0.001]


def test_two_knobs_grow_one_after_the_other():
    """The best of the grid is its corner (0.1, 8). The rate 1.0 is worse, so that the rate stays; alpha then grows to
    16, which is best, and to 32, which is not. The other knob of a new trial is always the best one's."""

    def surface(lr, alpha):
        return 1 - abs(log10(lr / 0.1)) - abs(log10(alpha / 16))

    knobs = {LR: RATES, ALPHA: [4, 8]}
    state, order = found(surface, knobs, budget=trials_in_full(99))
    assert [trial.setting for trial in order[6:]] == [
        ((LR, 1.0), (ALPHA, 8)),
        ((LR, 0.1), (ALPHA, 16.0)),
        ((LR, 0.1), (ALPHA, 32.0)),
    ]
    assert (state.chosen, state.at_edge) == (((LR, 0.1), (ALPHA, 16.0)), ())


def test_both_knobs_are_told_when_the_steps_are_spent():
    """Seven trials may be made, six are the grid: the rate grows once, towards nothing better."""
    state, order = found(lambda lr, alpha: lr + alpha, {LR: RATES, ALPHA: [4, 8]}, budget=trials_in_full(7))
    assert [trial.setting for trial in order[6:]] == [((LR, 1.0), (ALPHA, 8))]
    assert (state.chosen, state.at_edge) == (((LR, 1.0), (ALPHA, 8)), (LR, ALPHA))


def test_a_knob_of_one_value_has_no_end():
    state, order = found(lambda lr, alpha: lr, {LR: [1e-2], ALPHA: [4]}, budget=trials_in_full(99))
    assert len(order) == 1 and state.at_edge == ()


def test_the_steps_are_spent_to_the_last_trial_and_no_further():
    for affordable in (3, 4, 5.9):
        state, order = found(hill(1e9), {LR: RATES}, budget=trials_in_full(affordable))
        assert len(order) == int(affordable) and state.at_edge == (LR,)


def test_survivors_of_short_trials_are_tried_in_full():
    """In short trials high rates look good, in full ones 1e-3 is best of the three that are left."""
    rates = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]

    def surface(lr, short=False):
        return {1e-4: 0.1, 1e-3: 0.5, 1e-2: 0.6, 1e-1: 0.4, 1.0: 0.2}[lr] if short else -lr

    state, order = found(surface, {LR: rates}, survivors=3)
    assert [(trial.short, dict(trial.setting)[LR]) for trial in order] == [
        *((True, lr) for lr in rates),
        *((False, lr) for lr in (1e-2, 1e-3, 1e-1)),
    ]
    assert (state.chosen, state.at_edge) == (((LR, 1e-3),), ())


def test_as_many_survivors_as_settings_need_no_short_trials():
    for survivors in (3, 4):
        _, order = found(hill(1e-2), {LR: RATES}, survivors=survivors)
        assert order == [Trial(((LR, lr),)) for lr in RATES]


@pytest.mark.parametrize("count", [3, 6, 33, 45])
def test_three_short_trials_cost_one_of_full_length(count):
    """So ``count / 3 + 2`` are spent when two survivors are done, and one more is the growth that is left."""
    rates = [1.1**i for i in range(count)]
    for left in (0, 1, 2):
        _, order = found(
            lambda lr, short=False: lr, {LR: rates}, survivors=2, budget=trials_in_full(count / 3 + 2 + left)
        )
        assert len(order) == count + 2 + left


def test_a_third_that_is_rounded_up_is_counted_as_it_is():
    """Twelve first values of 107 steps and three of 320 in full are 2,244: another needs 2,564 and not 2,560."""
    rates = [1.1**i for i in range(12)]
    for steps, grown in ((2560, 0), (2564, 1)):
        options = {"survivors": 3, "budget": Budget(steps, full=320, short=107)}
        state, order = found(lambda lr, short=False: lr, {LR: rates}, **options)
        assert len(order) == 15 + grown and state.at_edge == (LR,)


def test_where_all_survivors_diverge_in_full_the_next_best_is_tried():
    """Two of five survive and diverge, then the third best, which does not: as long as steps are left."""
    rates = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    for budget, chosen in ((Budget(), 1e-2), (trials_in_full(5 / 3 + 3), 1e-2), (trials_in_full(5 / 3 + 2), None)):
        surface = lambda lr, short=False: lr if short or lr < 0.05 else None  # noqa: E731
        state, order = found(surface, {LR: rates}, survivors=2, budget=budget)
        assert tried(order)[5:] == ([1.0, 0.1, 0.01] if chosen else [1.0, 0.1])
        assert state.chosen == (chosen and ((LR, chosen),))


def test_what_diverged_is_never_chosen_and_does_not_grow_the_range():
    """The best rate would be 0.1, where a seed diverged: then 0.01 is best, and it is inside the range."""
    state, order = found(lambda lr: None if lr >= 0.1 else lr, {LR: RATES}, budget=trials_in_full(99))
    assert len(order) == 3 and (state.chosen, state.at_edge) == (((LR, 1e-2),), ())


def test_a_range_that_grows_into_divergence_stops_there():
    state, order = found(lambda lr: None if lr > 5 else lr, {LR: RATES}, budget=trials_in_full(99))
    assert tried(order) == [*RATES, 1.0, 10.0]
    assert (state.chosen, state.at_edge) == (((LR, 1.0),), ())


def test_a_short_trial_that_diverged_does_not_survive():
    state, order = found(lambda lr, short=False: None if lr > 5e-2 else lr, {LR: RATES}, survivors=2)
    assert [dict(trial.setting)[LR] for trial in order[3:]] == [1e-2, 1e-3]
    assert state.chosen == ((LR, 1e-2),)


@pytest.mark.parametrize("options", [{}, {"budget": trials_in_full(99)}, {"survivors": 2}])
def test_where_all_diverged_nothing_is_chosen_and_nothing_more_is_wanted(options):
    state, order = found(lambda lr, short=False: None, {LR: RATES}, **options)
    assert len(order) == 3 and (state.chosen, state.at_edge) == (None, ())


def test_lower_may_be_better():
    """The same surface upside down comes to the same trials and the same choice, with survivors and growth."""
    for options in ({"budget": trials_in_full(99)}, {"survivors": 2, "budget": trials_in_full(99)}):
        for top in (1e-5, 1e-2, 1e2):
            up = found(lambda lr, short=False, top=top: hill(top)(lr), {LR: RATES}, **options)
            down = found(
                lambda lr, short=False, top=top: -hill(top)(lr), {LR: RATES}, greater_is_better=False, **options
            )
            assert up == down and up[0].chosen[0][1] == pytest.approx(top)
