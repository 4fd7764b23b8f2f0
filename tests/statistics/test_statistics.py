"""Oracles: scipy, scikit-learn, least squares, enumeration, closed forms, and coverage in simulations."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from surm_bench.errors import UserError
from surm_bench.metrics.functions import accuracy, matthews
from surm_bench.statistics import (
    Interval,
    Verdict,
    detectable,
    error_variance,
    expected_maximum,
    mean_interval,
    mean_ranks,
    paired_difference,
    paired_difference_with_examples,
    power,
    probability_of_no_loss,
    verdict,
)

NAN = float("nan")
CELLS = {"LoRA": [71.2, 70.1, 73.4, 72.0, 70.9], "circulant": [74.0, 73.1, 75.2], "probe": [60.1, 60.3, 59.8, 60.6]}
FIRST, SECOND = [0.74, 0.71, 0.77, 0.73, 0.75], [0.70, 0.72, 0.73, 0.71, 0.72]


# Intervals over seeds


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_mean_interval_is_that_of_scipy(level):
    scores = CELLS["LoRA"]
    found = mean_interval(scores, level)
    expected = stats.t.interval(level, len(scores) - 1, loc=np.mean(scores), scale=stats.sem(scores))
    np.testing.assert_allclose((found.low, found.high), expected)
    assert (found.n, found.n_missing, found.df) == (5, 0, 4)


@pytest.mark.parametrize("scores", [[70.0], [70.0, NAN], []])
def test_an_interval_needs_two_seeds(scores):
    found = mean_interval(scores)
    assert np.isnan([found.low, found.high]).all()
    assert found.n == sum(np.isfinite(scores))
    assert found.n + found.n_missing == len(scores)


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_is_between_0_and_1(level):
    rows = np.zeros((2, 3))
    for interval in (
        lambda: mean_interval(FIRST, level),
        lambda: paired_difference_with_examples(rows, rows, np.zeros(3), accuracy, level=level),
    ):
        with pytest.raises(UserError, match=f"level={level} is not possible"):
            interval()


def test_one_score_a_seed():
    with pytest.raises(UserError, match=r"shape \(2, 2\)"):
        mean_interval([[1, 2], [3, 4]])


# Paired differences


def test_paired_difference_is_that_of_scipy():
    found = paired_difference(FIRST, SECOND)
    expected = stats.ttest_rel(FIRST, SECOND)
    np.testing.assert_allclose((found.low, found.high), expected.confidence_interval(0.95))
    np.testing.assert_allclose(found.mean / found.standard_error, expected.statistic)
    assert (found.n, found.df) == (5, 4)


def test_a_missing_or_diverged_run_is_a_missing_pair():
    first, second = [*FIRST, NAN, 0.7, np.inf, np.inf], [*SECOND, 0.7, NAN, np.inf, 0.7]
    found = paired_difference(first, second)
    assert (found.n, found.n_missing) == (5, 4)
    assert found[:-1] == paired_difference(FIRST, SECOND)[:-1]


def test_pairs_have_the_same_seeds():
    with pytest.raises(UserError, match=r"\(5,\) and \(4,\)"):
        paired_difference(FIRST, SECOND[:4])


def test_the_error_variance_is_that_of_the_two_way_model():
    """Least squares with a column for each method and each seed, as any textbook has it; effects of seeds cancel."""
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(4, 5)) + 10 * rng.normal(size=5) + 3 * rng.normal(size=(4, 1))
    methods, seeds = (index.ravel() for index in np.indices(scores.shape))
    design = np.column_stack([np.eye(4)[methods], np.eye(5)[seeds]])
    _, squares, rank, _ = np.linalg.lstsq(design, scores.ravel(), rcond=None)
    squares = np.sum((scores.ravel() - design @ np.linalg.lstsq(design, scores.ravel(), rcond=None)[0]) ** 2)
    found = error_variance(scores)
    assert found.df == scores.size - rank == 12
    np.testing.assert_allclose(found.variance, squares / found.df)
    incomplete = np.vstack([scores, [1, 2, np.nan, 4, 5]])
    assert error_variance(incomplete) == found


def test_the_error_variance_of_two_methods_is_half_that_of_their_difference():
    found = error_variance([FIRST, SECOND])
    np.testing.assert_allclose(2 * found.variance, np.var(np.subtract(FIRST, SECOND), ddof=1))
    assert found.df == len(FIRST) - 1
    assert error_variance([FIRST]) is None and error_variance([]) is None


def test_power_is_that_of_simulation():
    """How often the t test of ten differences shows a true difference of one standard deviation."""
    rng = np.random.default_rng(4)
    samples = rng.normal(1, 1, size=(20_000, 10))
    low = samples.mean(1) - stats.t.ppf(0.975, 9) * samples.std(1, ddof=1) / np.sqrt(10)
    difference = Interval(1, 0, 2, 1 / np.sqrt(10), 9, 10, 0)
    np.testing.assert_allclose(power(1.0, difference), np.mean(low > 0), atol=0.01)
    np.testing.assert_allclose(probability_of_no_loss(difference, 1.0), np.mean(low > 0), atol=0.01)
    np.testing.assert_allclose(power(detectable(difference), difference), 0.8)
    assert np.isnan(power(1.0, Interval(1, np.nan, np.nan, np.nan, np.nan, 1, 0)))


# Resampled examples


def crossed(rng, seeds, examples, of_seed=0.0, of_example=0.0, of_both=0.0):
    """Differences (seeds, examples) around 0: what a seed adds, what an example adds, and what both together add."""
    return (
        of_seed * rng.normal(size=(seeds, 1))
        + of_example * rng.normal(size=(1, examples))
        + of_both * rng.normal(size=(seeds, examples))
    )


def difference(first, second, **options):
    """The interval of scores of examples, whose mean is the score of a run."""
    labels = np.zeros(np.shape(first)[-1])
    return paired_difference_with_examples(first, second, labels, lambda _, scores: scores.mean(-1), **options)


def test_standard_error_with_examples_is_the_closed_form():
    """Two accuracies on the same examples: the variance over seeds, and McNemar's of the mean difference."""
    rng = np.random.default_rng(1)
    labels = rng.integers(3, size=400)
    first, second = (np.where(rng.random((5, 400)) < p, labels, 3) for p in (0.8, 0.7))
    differences = (first == labels).astype(float) - (second == labels)
    of_seeds = differences.mean(1).var(ddof=1) / 5
    of_examples = differences.mean(0).var() / 400
    found = paired_difference_with_examples(first, second, labels, accuracy, resamples=20_000)
    np.testing.assert_allclose(found.mean, differences.mean())
    np.testing.assert_allclose(found.standard_error, np.sqrt(of_seeds + of_examples), rtol=0.01)
    df = (of_seeds + of_examples) ** 2 / (of_seeds**2 / 4 + of_examples**2 / 399)  # Satterthwaite
    np.testing.assert_allclose(found.df, df, rtol=0.03)
    np.testing.assert_allclose(found.high - found.mean, stats.t.ppf(0.975, found.df) * found.standard_error)


def test_the_seed_decides_the_resamples():
    first, second = np.random.default_rng(4).normal(size=(2, 5, 40))
    assert difference(first, second, seed=1) == difference(first, second, seed=1)
    assert difference(first, second, seed=1).low != difference(first, second, seed=2).low


def test_incomplete_pairs_of_predictions_are_counted():
    first, second = np.random.default_rng(5).integers(2, size=(2, 5, 40)).astype(float)
    labels = np.arange(40) % 2
    complete = paired_difference_with_examples(first[:3], second[:3], labels, matthews)
    first[3, 7], second[4] = NAN, NAN
    found = paired_difference_with_examples(first, second, labels, matthews)
    assert found[:-1] == complete[:-1]
    assert (found.n, found.n_missing) == (3, 2)


def test_an_interval_needs_two_pairs():
    rows, none = np.arange(8.0).reshape(2, 4), np.full((2, 4), NAN)
    one = difference(rows, np.stack([rows[0] - 0.5, none[0]]))
    assert (one.mean, one.n, one.n_missing) == (0.5, 1, 1)
    assert np.isnan([one.low, one.high, one.standard_error]).all()
    spearman = np.vectorize(lambda *both: stats.spearmanr(*both).statistic, signature="(n),(n)->()")
    zero = paired_difference_with_examples(rows, none, np.arange(4), spearman)
    assert np.isnan([zero.mean, zero.low, zero.high]).all()
    assert (zero.n, zero.n_missing) == (0, 2)


def test_equal_methods_differ_by_nothing():
    rows = np.ones((3, 4))
    found = difference(rows, rows)
    assert (found.mean, found.low, found.high, found.df) == (0, 0, 0, 2)


@pytest.mark.parametrize(
    ("first", "second", "labels", "message"),
    [
        (np.ones((3, 4)), np.ones((2, 4)), np.ones(4), r"\(3, 4\) and \(2, 4\)"),
        (np.ones(4), np.ones(4), np.ones(4), "no pairs"),
        (np.ones((3, 1)), np.ones((3, 1)), np.ones(1), "1 examples"),
        (np.ones((3, 4)), np.ones((3, 4)), np.ones(3), r"labels of shape \(3,\) for 4"),
    ],
)
def test_arrays_that_do_not_fit(first, second, labels, message):
    with pytest.raises(UserError, match=message):
        paired_difference_with_examples(first, second, labels, accuracy)


def coverage(repeats=300, **variation):
    """How often the interval holds the truth, 0."""
    rng = np.random.default_rng(6)
    hits = 0
    for repeat in range(repeats):
        differences = crossed(rng, examples=100, **variation)
        found = difference(differences, np.zeros_like(differences), resamples=200, seed=repeat)
        hits += found.low < 0 < found.high
    return hits / repeats


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("varies", [{"of_seed": 1, "of_both": 1}, {"of_example": 1, "of_seed": 0.05}])
def test_the_interval_with_examples_keeps_its_level(seeds, varies):
    assert 0.92 <= coverage(seeds=seeds, **varies) <= 0.98


@pytest.mark.parametrize(("methods", "seeds"), [(4, 3), (10, 10), (13, 5)])
@pytest.mark.parametrize(("of_run", "of_example"), [(0.016, 0.22), (0.03, 0.05)])
def test_the_pooled_interval_keeps_its_level(methods, seeds, of_run, of_example):
    """At the numbers of methods and seeds that we have, and the spreads: of a run's score, and of a test example."""
    rng, examples, repeats, hits = np.random.default_rng(8), 200, 300, 0
    for repeat in range(repeats):
        runs = of_run * rng.normal(size=(methods, seeds, 1))
        shared = of_example * rng.normal(size=(methods, 1, examples))
        scores = runs + shared
        pooled = error_variance(scores.mean(-1))
        found = paired_difference_with_examples(
            *scores[:2], np.zeros(examples), lambda _, s: s.mean(-1), resamples=60, seed=repeat, pooled=pooled
        )
        hits += found.low < 0 < found.high
    assert 0.92 <= hits / repeats <= 0.98


def test_the_interval_with_examples_is_too_wide_where_chance_is_all():
    """By √2 in the limit, which makes 95 % of a normal distribution 99.4 %."""
    assert coverage(seeds=5, of_both=1) >= 0.97


# Verdicts


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 3, Verdict.BETTER),
        (0, 3, Verdict.NO_LOSS),
        (-0.9, 0.4, Verdict.NO_LOSS),
        (-0.9, 0, Verdict.NO_LOSS),
        (-0.9, -0.1, Verdict.WORSE_WITHIN_MARGIN),
        (-1, -0.1, Verdict.WORSE),
        (-3, -2, Verdict.WORSE),
        (-1, 0, Verdict.UNDECIDED),
        (-3, 3, Verdict.UNDECIDED),
        (NAN, NAN, Verdict.UNDECIDED),
    ],
)
def test_verdict(low, high, expected):
    assert verdict(low, high, margin=1) is expected


@pytest.mark.parametrize("margin", [0, -1, NAN])
def test_a_margin_is_positive(margin):
    with pytest.raises(UserError, match=f"margin {margin}"):
        verdict(-1, 1, margin)


def test_the_lower_end_comes_first():
    with pytest.raises(UserError, match="from 2 to 1"):
        verdict(2, 1, margin=1)


# Across tasks


def test_mean_ranks_by_hand():
    scores = np.array([[70, 80, 90, 50], [71, 80, 85, 40], [60, 70, 95, 45], [99, NAN, 99, 99]])
    wanted = [(2 + 1.5 + 2 + 1) / 4, (1 + 1.5 + 3 + 3) / 4, (3 + 3 + 1 + 2) / 4, NAN]
    np.testing.assert_allclose(mean_ranks(scores), wanted)


def test_mean_ranks_need_four_tasks():
    assert np.isnan(mean_ranks([[1, 2, 3], [3, 2, 1]])).all()


# Expected validation performance


def test_expected_maximum_is_that_of_enumeration():
    scores = [0.4, 0.9, 0.1, 0.4]
    expected = [np.mean([max(draw) for draw in itertools.product(scores, repeat=n)]) for n in range(1, 5)]
    np.testing.assert_allclose(expected_maximum(scores), expected)


def test_expected_maximum_is_that_of_random_search():
    rng = np.random.default_rng(10)
    scores = rng.normal(size=30)
    curve = expected_maximum(scores)
    assert len(curve) == 30
    for n in (1, 7, 30):
        best = rng.choice(scores, size=(20_000, n)).max(1)
        np.testing.assert_allclose(curve[n - 1], best.mean(), atol=4 * stats.sem(best))


@pytest.mark.parametrize("scores", [[], [0.5, NAN], [0.5, -np.inf]])
def test_expected_maximum_of_what_is_no_score(scores):
    with pytest.raises(UserError, match="chance for a diverged setting"):
        expected_maximum(scores)


def test_statistics_need_no_torch():
    code = "import sys, surm_bench.statistics; sys.exit(bool({'torch', 'transformers', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
