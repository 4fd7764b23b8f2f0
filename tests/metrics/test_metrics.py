"""Oracles: scipy, scikit-learn, and closed forms by hand."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from surm_bench.metrics import METRICS, PAIRS, metric_function, sample_scores

ORACLES = {
    "accuracy": accuracy_score,
    "f1": f1_score,
    "macro_f1": partial(f1_score, average="macro"),
    "matthews_correlation": matthews_corrcoef,
    "pearson": lambda *both: stats.pearsonr(*both).statistic,
    "spearmanr": lambda *both: stats.spearmanr(*both).statistic,
}


@pytest.mark.parametrize(("name", "oracle"), ORACLES.items())
def test_metrics_are_those_of_scipy_and_sklearn(name, oracle):
    rng = np.random.default_rng(7)
    labels = rng.integers(2, size=40)
    predictions = np.where(rng.random((2, 3, 40)) < 0.7, labels, 1 - labels)
    if name in ("pearson", "spearmanr"):
        labels, predictions = labels + rng.integers(3, size=40), predictions + rng.normal(size=(2, 3, 40)).round(1)
    expected = np.vectorize(oracle, signature="(n),(n)->()")(labels, predictions)
    np.testing.assert_allclose(metric_function(name)(labels, predictions), expected, atol=1e-12)


@pytest.mark.parametrize(("name", "oracle"), ORACLES.items())
def test_scores_of_samples_are_those_of_scipy_and_sklearn_sample_by_sample(name, oracle):
    rng = np.random.default_rng(8)
    labels, predictions = rng.integers(3, size=40), rng.integers(3, size=(2, 3, 40))
    if name == "f1":
        labels, predictions = labels % 2, predictions % 2
    drawn = rng.integers(40, size=(6, 40))
    expected = [[[oracle(labels[rows], run[rows]) for rows in drawn] for run in runs] for runs in predictions]
    np.testing.assert_allclose(sample_scores(metric_function(name), labels, predictions, drawn), expected, atol=1e-12)


@pytest.mark.parametrize("name", ["f1", "matthews_correlation", "pearson", "spearmanr"])
def test_constant_predictions_score_0(name):
    np.testing.assert_array_equal(metric_function(name)(np.array([0, 1, 0, 1]), np.zeros((2, 4), int)), [0, 0])


def test_a_constant_is_one_in_spite_of_rounding():
    assert metric_function("pearson")(np.arange(3.0), np.full(3, 0.1)) == 0


@pytest.mark.parametrize(("n", "points"), [(2000, 1.1), (277, 3.0)])
def test_the_standard_error_of_a_proportion_is_binomial(n, points):
    standard_error = METRICS["accuracy"].standard_error
    assert round(100 * standard_error(0.5, n), 1) == points
    for p in (0.5, 0.9):
        np.testing.assert_allclose(standard_error(p, n), stats.binom(n, p).std() / n)


def test_the_standard_error_of_an_accuracy_is_that_of_other_examples():
    labels, predictions = np.zeros(300, int), np.arange(300) % 4 == 0
    resampled = stats.bootstrap((predictions == labels,), np.mean, n_resamples=20_000, method="basic", rng=9)
    np.testing.assert_allclose(METRICS["accuracy"].standard_error(0.75, 300), resampled.standard_error, rtol=0.02)


def test_the_standard_error_of_a_correlation_is_that_of_normal_samples():
    """The standard deviation of Pearson's correlation over many samples from a bivariate normal distribution."""
    rng = np.random.default_rng(8)
    labels = rng.normal(size=(20_000, 200))
    predictions = 0.6 * labels + 0.8 * rng.normal(size=labels.shape)
    drawn = [np.corrcoef(*both)[0, 1] for both in zip(labels, predictions, strict=True)]
    np.testing.assert_allclose(METRICS["pearson"].standard_error(0.6, 200), np.std(drawn), rtol=0.03)


@pytest.mark.parametrize("pair", PAIRS.values())
def test_the_metrics_of_a_pair_fit_the_same_tasks(pair):
    assert len({METRICS[name].regression for name in pair}) == 1


def test_a_class_is_passed_to_the_metrics_of_one_class_only():
    """A task of F1 whose tables show the accuracy."""
    labels, predictions = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert metric_function("accuracy", 0)(labels, predictions) == 0.75
    assert metric_function("f1", 0)(labels, predictions) == pytest.approx(2 / 3)


@pytest.mark.parametrize("name", METRICS)
def test_a_standard_error_is_known_for_every_score(name):
    assert all(METRICS[name].standard_error(score, 10) >= 0 for score in (-0.2, 0.0, 1.0))


def test_metrics_need_no_torch():
    code = "import sys, surm_bench.metrics; sys.exit(bool({'torch', 'sklearn', 'scipy', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
