"""A metric of the user's, by the recipe of docs/own_data.md: from training to the table."""

import math

import numpy as np
import pandas as pd
import pytest
from support.runs import DIGITS, SIMILARITY, folder_of, start

from surm_bench.errors import UserError
from surm_bench.experiment.page import write_folder_report
from surm_bench.metrics import METRICS, Metric
from surm_bench.records import Archive

MAE = "mean_absolute_error"
TASK = [*SIMILARITY, f"task.metric={MAE}", f"task.primary_metric={MAE}"]


@pytest.fixture(autouse=True)
def entry(monkeypatch):
    def mean_absolute_error(labels, predictions):
        return np.abs(labels - predictions).mean(-1)

    made = Metric(mean_absolute_error, greater_is_better=False, regression=True, percent=False)
    monkeypatch.setitem(METRICS, MAE, made)


def test_a_run_is_scored_selected_and_tabulated_by_it(tmp_path):
    """The score is the mean error of the predictions, the best evaluation has the least, and so has the bold cell."""
    means = {}
    for adapter, rate in (("lora", 1e-6), ("circulant", 0.1)):
        rates = [f"optimizer.lr={rate}", f"optimizer.head_lr={rate}", "optimizer.warmup_ratio=0"]
        steps = ["trainer.max_steps=2", "trainer.batch_size=64"]  # of 64 rows: two epochs
        record = start(tmp_path, *TASK, f"adapter={adapter}", *rates, *steps)
        predicted = pd.read_parquet(folder_of(tmp_path, record) / "predictions.parquet")
        error = (predicted["label"] - predicted["prediction"]).abs().mean()
        assert (record.primary_metric, record.greater_is_better) == (MAE, False)
        assert record.scores["reported"]["last"] == {MAE: pytest.approx(error)}
        evaluated = [point["scores"]["reported"][MAE] for point in record.history]
        assert len(evaluated) == 2 and record.best_score == min(evaluated)
        means[record.config.adapter.label] = record.score
    write_folder_report(tmp_path, tmp_path / "out" / "report.html")
    text = (tmp_path / "out" / "table.md").read_text()
    best, other = sorted(means.values())
    assert other - best > 0.001
    assert f"**{best:.3f}**" in text and f"<u>{other:.3f}</u>" in text
    assert "A lower mean absolute error is better." in text


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_metric_without_a_finite_value_ends_the_run_in_one_line(tmp_path, monkeypatch, value):
    """As 0/0 in the user's function; a record would have null, which no table can show."""
    made = METRICS[MAE]._replace(function=lambda labels, predictions: np.float64(value))
    monkeypatch.setitem(METRICS, MAE, made)
    with pytest.raises(UserError, match=f"metric {MAE} is {value} for 32 examples: let its function return") as error:
        start(tmp_path, *TASK, "adapter=lora", "trainer.max_steps=1")
    assert "\n" not in str(error.value)
    assert [record.status for record in Archive(tmp_path).records()] == ["failed"]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ([*DIGITS, f"task.metric={MAE}"], f"for regression .* correlation, pearson, spearmanr, {MAE}; all other"),
        ([*SIMILARITY, "task.metric=accuracy"], "task.metric='accuracy' does not fit task.num_labels=1"),
        ([*TASK[:-1], "task.primary_metric=pearson"], f"unknown task.primary_metric 'pearson': choose from {MAE}"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, task, message):
    with pytest.raises(UserError, match=message):
        start(tmp_path, *task, "adapter=lora")
