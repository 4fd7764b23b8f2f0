"""The search by runs of full length, on scores made up by hand: what it tries, in which order, and what it chooses."""

from math import log2, sqrt

import pytest

from surm_bench.experiment.coordinate_search import coordinate_search
from surm_bench.experiment.search import Trial

LR, HEAD = "optimizer.lr", "optimizer.head_lr"
RATES = [1.0, 2.0, 4.0, 8.0, 16.0]
KNOBS = {LR: RATES, HEAD: [3.0, 9.0]}


def searched(surface, knobs=KNOBS, finalists=3, **options):
    """Run the trials that are wanted until the search is at its end.

    Args:
        surface: (rate, head rate, place of the seed) -> score, or None where the run diverges.

    Returns:
        The chosen setting as a tuple of values, and the trials in order: the values, and on how many of two seeds.
    """
    scores, order = {}, []
    while True:
        state = coordinate_search(knobs, scores, finalists=finalists, **options)
        missing = [trial for trial in state.trials if trial not in scores]
        if not missing:
            return state.chosen and tuple(value for _, value in state.chosen), order
        for trial in missing:
            values = tuple(value for _, value in trial.setting)
            seeds = [0] if trial.first_seed else [0, 1]
            found = [surface(*values, seed) for seed in seeds]
            scores[trial] = None if None in found else found
            order.append((values, len(seeds)))


def hill(top, head=3.0):
    """Return a surface with its best rate at ``top``, which falls with the distance in octaves, on every seed alike."""

    def surface(lr, *rest):
        head_lr = rest[0] if len(rest) == 2 else head
        return 1 - abs(log2(lr / top)) - abs(log2(head_lr / head)) / 100

    return surface


def test_rates_then_the_other_head_rate_then_the_finalists_on_both_seeds():
    chosen, order = searched(hill(4.1))
    assert order == [
        *(((rate, 3.0), 1) for rate in RATES),
        ((4.0, 9.0), 1),
        ((4.0, 3.0), 2),
        ((4.0, 9.0), 2),
        ((8.0, 3.0), 2),
    ]
    assert chosen == (4.0, 3.0)


def test_the_mean_over_both_seeds_chooses_not_the_first_seed():
    def surface(lr, head_lr, seed):
        return {(4.0, 3.0): (0.9, 0.1), (8.0, 3.0): (0.8, 0.8)}.get((lr, head_lr), (0.5, 0.5))[seed]

    assert searched(surface)[0] == (8.0, 3.0)


@pytest.mark.parametrize(
    ("top", "further"), [(16.0, [32.0]), (100.0, [32.0, 64.0, 128.0, 256.0]), (0.3, [0.5, 0.25, 0.125]), (8.0, [])]
)
def test_a_range_grows_without_limit_while_the_best_is_at_its_end(top, further):
    _, order = searched(hill(top), {LR: RATES})
    on_first = [values[0] for values, seeds in order if seeds == 1]
    assert on_first == [*RATES, *further]


def test_other_values_are_tried_at_the_best_rate_and_taken_where_they_are_better():
    chosen, order = searched(hill(8.0, head=9.0))
    assert ((8.0, 9.0), 1) in order and chosen == (8.0, 9.0)


def test_further_settings_are_halfway_to_the_better_neighbour():
    _, order = searched(hill(4.5), settings=8)
    added = [values for values, seeds in order if seeds == 1][6:]
    first = float(
        f"{sqrt(4 * 8):.3g}"
    )  # 8 is nearer to 4.5 than 2 is; 4 stays the best and 5.66 is its better neighbour
    assert added == [(first, 3.0), (float(f"{sqrt(4 * first):.3g}"), 3.0)]


def test_halves_that_are_equal_in_three_digits_are_not_tried_twice():
    _, order = searched(hill(4.01), {LR: RATES}, settings=40)
    on_first = [values for values, seeds in order if seeds == 1]
    assert 10 < len(on_first) < 40 and len(set(on_first)) == len(on_first)


def test_a_choice_at_the_end_of_the_values_tried_is_told():
    """The first seed is best at 8, so that the range does not grow, and the mean over both seeds at 16."""

    def surface(lr, head_lr, seed):
        return {(8.0, 3.0): (0.9, 0.1), (16.0, 3.0): (0.8, 0.8)}.get((lr, head_lr), (0.5, 0.5))[seed]

    scores = {}
    for _ in range(4):
        state = coordinate_search(KNOBS, scores, finalists=3)
        for trial in state.trials:
            values = (value for _, value in trial.setting)
            lr, head_lr = values
            seeds = (0,) if trial.first_seed else (0, 1)
            scores[trial] = [surface(lr, head_lr, seed) for seed in seeds]
    assert dict(state.chosen)[LR] == 16.0 and state.at_edge == (LR,)


def test_no_finalists_before_it_is_time():
    chosen, order = searched(hill(4.0), finalists=None)
    assert chosen is None and {seeds for _, seeds in order} == {1}


def test_what_diverges_is_not_chosen_and_ends_a_range():
    def surface(lr, head_lr, seed):
        return None if lr > 16 or head_lr == 9 else lr

    chosen, order = searched(surface)
    assert chosen == (16.0, 3.0)
    assert [values for values, _ in order].count((32.0, 3.0)) == 1


def test_where_all_finalists_diverge_on_another_seed_the_next_best_is_tried():
    chosen, order = searched(
        lambda lr, head_lr, seed: None if seed == 1 and lr > 1 else hill(4.0)(lr, head_lr, seed), finalists=2
    )
    assert chosen == (1.0, 3.0)
    assert searched(lambda *_: None)[0] is None
    assert searched(lambda lr, head_lr, seed: None if seed else hill(4.0)(lr, head_lr))[0] is None


def test_lower_may_be_better():
    assert searched(lambda *at: -hill(4.0)(*at), greater_is_better=False)[0] == (4.0, 3.0)


def test_trials_name_their_seeds():
    state = coordinate_search(KNOBS, {}, finalists=3)
    assert state.trials == [Trial(((LR, rate), (HEAD, 3.0)), first_seed=True) for rate in RATES]
