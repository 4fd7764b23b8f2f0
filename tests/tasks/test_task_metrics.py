"""Metrics against scikit-learn and scipy, and losses."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics
from support.tasks import task_config

from surm_bench.metrics import METRICS
from surm_bench.tasks import Classification, objective_for


def test_classification_metrics_equal_scikit_learn():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(200, 2)), rng.integers(0, 2, 200)
    predicted = logits.argmax(1)
    accuracy = metrics.accuracy_score(labels, predicted)
    assert objective_for(task_config("glue/rte")).metrics(logits, labels) == pytest.approx({"accuracy": accuracy})
    assert objective_for(task_config("glue/mrpc")).metrics(logits, labels) == pytest.approx(
        {"accuracy": accuracy, "f1": metrics.f1_score(labels, predicted)}
    )
    assert objective_for(task_config("glue/cola")).metrics(logits, labels) == pytest.approx(
        {"matthews_correlation": metrics.matthews_corrcoef(labels, predicted)}
    )


def test_correlations_equal_scipy_and_are_zero_for_constants():
    rng, config = np.random.default_rng(0), task_config("glue/stsb")
    logits, labels = rng.normal(size=(100, 1)).astype(np.float32), rng.uniform(0, 5, 100).astype(np.float32)
    expected = {
        "spearmanr": stats.spearmanr(logits[:, 0], labels).statistic,
        "pearson": stats.pearsonr(logits[:, 0].astype(float), labels.astype(float)).statistic,
    }
    assert objective_for(config).metrics(logits, labels) == pytest.approx(expected)
    assert objective_for(config).metrics(np.full((100, 1), 3.0), labels) == {"spearmanr": 0.0, "pearson": 0.0}
    always = np.tile([0.0, 1.0], (100, 1))
    assert objective_for(task_config("glue/cola")).metrics(always, np.arange(100) % 2) == {"matthews_correlation": 0.0}


def test_loss_equals_the_closed_form():
    logits, labels = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]]), torch.tensor([1, 2])
    expected = (math.log(math.e + math.e**2 + 1) - 2 + math.log(3)) / 2
    assert objective_for(task_config("glue/mnli")).loss(logits, labels).item() == pytest.approx(expected)
    regression = objective_for(task_config("glue/stsb")).loss(torch.tensor([[1.0], [3.0]]), torch.tensor([2.0, 5.0]))
    assert regression.item() == pytest.approx((1 + 4) / 2)


def test_an_objective_knows_which_evaluation_is_best(monkeypatch):
    """By hand: the first of two that are equally good, on the split asked for, whichever way the metric goes."""
    scores = [{"validation": {"f1": v}, "reported": {"f1": r}} for v, r in ((0.2, 0.9), (0.8, 0.1), (0.8, 0.5))]
    evaluations = [{"epoch": epoch, "scores": named} for epoch, named in enumerate(scores)]
    objective = Classification("f1_accuracy", "f1")
    assert objective.best(evaluations, "validation")["epoch"] == 1
    assert objective.best(evaluations, "reported")["epoch"] == 0
    monkeypatch.setitem(METRICS, "f1", METRICS["f1"]._replace(greater_is_better=False))
    assert objective.best(evaluations, "validation")["epoch"] == 0
    assert objective.best(evaluations, "reported")["epoch"] == 1
