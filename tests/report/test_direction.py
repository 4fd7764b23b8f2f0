"""Reports of a metric of which a lower score is better, and which is not a percentage. Oracles by hand and scipy."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.chromium import BINARY, Chromium
from support.made_page import METHODS, made_record
from support.made_records import predicted

from surm_bench import records
from surm_bench.errors import UserError
from surm_bench.experiment.differences import differences_to_lora
from surm_bench.experiment.pairing import Predictions
from surm_bench.metrics import METRICS, Metric
from surm_bench.records import Record
from surm_bench.records.agreement import agree, standard_error
from surm_bench.records.summary import summary
from surm_bench.report.ablation import ablation_table, adapters_table
from surm_bench.report.expected_validation import expected_curves, expected_validation
from surm_bench.report.figures import learning_curves
from surm_bench.report.frames import columns_of, curves_frame, rising, runs_frame, summary_frame
from surm_bench.report.looks import method_looks
from surm_bench.report.page import Results, page_part, write_page
from surm_bench.report.pareto import accuracy_against_parameters, pareto_front
from surm_bench.report.tables import Table, comparison_table, to_latex, to_markdown

MAE = "mean_absolute_error"
ERRORS = {"LoRA 1": [0.40, 0.42], "Circulant 1": [0.25, 0.26], "Houlsby 1": [0.3504, 0.3496]}
ORDER = list(ERRORS)


def mean_absolute_error(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    return np.abs(labels - predictions).mean(-1)


@pytest.fixture(autouse=True)
def metric(monkeypatch):
    entry = Metric(mean_absolute_error, greater_is_better=False, regression=True, percent=False)
    monkeypatch.setitem(METRICS, MAE, entry)


def error_record(method: str, task: str, seed: int, error: float, model: str = "bert_x", **fields) -> Record:
    """A record with a mean absolute error."""
    made = made_record(method, model, task, seed, error, **fields)
    scores = {split: {epoch: {MAE: error} for epoch in ("last", "best")} for split in made.scores}
    history = [
        point | {"scores": {s: {MAE: of["accuracy"]} for s, of in point["scores"].items()}} for point in made.history
    ]
    config = made.config.having(task={"primary_metric": MAE})
    return made.having(config=config, primary_metric=MAE, greater_is_better=False, scores=scores, history=history)


@pytest.fixture
def runs() -> list[Record]:
    return [error_record(m, "price", seed, e) for m, errors in ERRORS.items() for seed, e in enumerate(errors)]


def table_of(made: list[Record]) -> Table:
    return comparison_table(summary_frame(runs_frame(made)), ORDER)


def texts(table: Table, title: str) -> list[tuple[str, str]]:
    place = [column.title for column in table.columns].index(title)
    return [(row[place].text, row[place].mark) for row in table.rows]


def test_the_lowest_error_is_bold_and_is_shown_as_measured(runs):
    table = table_of(runs)
    assert texts(table, "price") == [("0.410 ± 0.014", ""), ("0.255 ± 0.007", "best"), ("0.350 ± 0.001", "second")]
    assert "A lower mean absolute error is better." in table.caption
    assert "Scores of mean absolute error are not multiplied by 100." in table.caption
    assert "**0.255 ± 0.007**" in to_markdown(table) and r"\textbf{0.255" in to_latex(table)


def test_an_error_and_an_accuracy_have_no_average_but_ranks_have(runs):
    """Circulant is best by the errors of two tasks, and second by the accuracies of two: its mean rank is 1.5."""
    errors = [error_record(m, task, 0, e[0]) for m, e in ERRORS.items() for task in ("price", "rent")]
    accuracies = {"LoRA 1": 0.9, "Circulant 1": 0.8, "Houlsby 1": 0.7}
    right = [made_record(m, "bert_x", task, 0, a) for m, a in accuracies.items() for task in ("x", "y")]
    table = table_of(errors + right)
    titles = [column.title for column in table.columns]
    assert "Average" not in titles and "There is no average over tasks" in table.caption
    assert texts(table, "Mean rank") == [("2.0", ""), ("1.5", ""), ("2.5", "")]
    assert texts(table, "x")[0] == ("90.0", "best")
    alone = table_of(errors)
    assert texts(alone, "Average") == [("0.400", ""), ("0.250", "best"), ("0.350", "second")]
    assert "There is no average" not in alone.caption


def test_the_front_of_errors_by_brute_force():
    generator = np.random.default_rng(0)
    for _ in range(50):
        costs, errors = generator.integers(1, 6, 8).tolist(), generator.integers(0, 6, 8).tolist()
        points = list(zip(costs, errors, strict=True))
        best = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)}
        assert [points[i] for i in pareto_front(costs, errors, METRICS[MAE])] == sorted(best)


def test_figures_of_errors_are_drawn_as_measured(runs, tmp_path):
    looks = method_looks(dict.fromkeys(ORDER, "structured"))
    assert rising(summary_frame(runs_frame(runs)).set_index("label"), "mean")["Circulant 1"] == pytest.approx(-0.255)
    figures = {
        "pareto": accuracy_against_parameters(summary_frame(runs_frame(runs)), looks, tmp_path / "pareto"),
        "curves": learning_curves(curves_frame(runs), looks, tmp_path / "curves"),
    }
    for written in figures.values():
        text = written[1].read_text()
        assert "mean absolute error" in text and "error × 100" not in text


def test_the_expected_best_error_is_the_mean_least_of_all_draws(tmp_path):
    """A setting that diverged on a seed counts as the greatest error."""
    errors = {"lr=1": 0.6, "lr=2": 0.2, "lr=3": np.nan}
    rows = [{"task": "price", "label": "lora", "setting": setting, "score": e} for setting, e in errors.items()]
    frame = pd.DataFrame(rows).assign(metric=MAE, full=True, seed=0)
    expected = [np.mean([min(draw) for draw in product([0.6, 0.2, 0.6], repeat=n)]) for n in (1, 2, 3)]
    assert expected_curves(frame)["lora"] == pytest.approx(expected)
    assert expected_validation(frame, method_looks({"lora": "LoRA"}), tmp_path / "curve")


def scores_of_tuning(metric: str) -> pd.DataFrame:
    rows = [("protocol", "lora", 0.5), ("no clipping", "lora", 0.3)]
    frame = pd.DataFrame(rows, columns=["task", "label", "score"])
    return frame.assign(seed=100, chosen=True, metric=metric)


def test_the_best_variant_has_the_lowest_error():
    table = ablation_table(scores_of_tuning(MAE), ["protocol", "no clipping"], ["lora"], [100])
    assert texts(table, "lora") == [("0.500", ""), ("0.300", "best")]
    assert texts(table, "Change") == [("+0.000", ""), ("-0.200", "")]
    assert table.caption.startswith("Scores on held-out") and "A lower mean absolute error is better." in table.caption
    mixed = pd.concat([scores_of_tuning(MAE).iloc[:1], scores_of_tuning("accuracy").iloc[1:]])
    with pytest.raises(UserError, match="accuracy and mean_absolute_error have different directions or units"):
        ablation_table(mixed, ["protocol", "no clipping"], ["lora"], [100])


def test_each_task_of_many_adapters_has_its_own_direction():
    rows = [
        ("a", "price", MAE, 0.5),
        ("b", "price", MAE, 0.3),
        ("a", "x", "accuracy", 0.5),
        ("b", "x", "accuracy", 0.3),
    ]
    frame = pd.DataFrame(rows, columns=["label", "task", "metric", "mean"]).assign(std=np.nan, adapter_parameters=1)
    table = adapters_table(frame, ["price", "x", "never run"], ["a", "b"], [100])
    assert texts(table, "price") == [("0.500", ""), ("0.300", "best")]
    assert texts(table, "x") == [("50.0", "best"), ("30.0", "")]
    assert "Scores × 100 (mean absolute error as measured) on" in table.caption


@pytest.mark.parametrize("examples", [False, True])
def test_a_lower_error_is_a_gain_over_lora(tmp_path, examples):
    """Of four prices of 1, Circulant is wrong by 0.2 or 0.3, and LoRA by 0.5: the gains are 0.3 and 0.2."""
    made, frames = [], []
    for method, errors in (("LoRA 1", (0.5, 0.5)), ("Circulant 1", (0.2, 0.3))):
        for seed, error in enumerate(errors):
            made.append(records.write(error_record(method, "price", seed, error).having(files={}), tmp_path))
            frames.append(predicted(made[-1], np.full(4, 1 + error)))
    if examples:
        pd.concat(frames).to_parquet(tmp_path / "predictions.parquet", index=False)
    columns = columns_of(made[0].config)
    (found,) = differences_to_lora(made, columns, Predictions(records.Archive(tmp_path)))
    expected = stats.ttest_1samp([0.3, 0.2], 0).confidence_interval(0.95)
    assert found["examples"] == examples and found["mean"] == pytest.approx(0.25)
    assert (found["low"], found["high"]) == pytest.approx(tuple(expected), rel=1e-4)


def part_of(made: list[Record], folder: Path) -> dict:
    columns = list(dict.fromkeys(column for run in made for column in columns_of(run.config)))
    labels = dict.fromkeys((run.config.adapter.label for run in made), "structured")
    return page_part(Results("some", folder, labels, columns, made), folder)


def test_the_page_has_the_best_and_the_front_of_errors(runs, tmp_path):
    """Circulant and Houlsby have 2,000 and 4,000 parameters, LoRA has 1,000: Houlsby is worse than Circulant."""
    part = part_of([*runs, made_record("LoRA 1", "bert_x", "x", 0, 0.9)], tmp_path)
    assert [METHODS[method] for method in ORDER] == [1000, 2000, 4000]
    assert [cell["method"] for cell in part["cells"] if cell["best"]] == ["Circulant 1", "LoRA 1"]  # price, x
    assert [one["method"] for one in part["tradeoffs"][0]["parameters"]["front"]] == ["LoRA 1", "Circulant 1"]
    assert [one["y"] for one in part["tradeoffs"][0]["parameters"]["front"]] == pytest.approx([0.41, 0.255])
    column = part["columns"][0]
    assert (column["title"], column["percent"], column["greater_is_better"]) == ("price", False, False)
    assert part["averages"] == []


def test_the_leading_methods_have_the_lowest_errors(tmp_path):
    """Of seven methods of one family, one is in colour: the one with the lowest error."""
    labels = [method for method in METHODS if method.startswith(("LoRA", "Circulant"))][:7]
    made = [error_record(m, "price", 0, 0.5 - 0.1 * (m == "LoRA 3")) for m in labels]
    assert part_of(made, tmp_path)["leading"] == ["LoRA 3"]


@pytest.mark.skipif(BINARY is None, reason="needs Chromium: apt-get install chromium")
def test_the_page_names_and_sorts_the_lowest_error(runs, tmp_path):
    page = write_page({"newest": "", "parts": [part_of(runs, tmp_path)], "claims": []}, tmp_path / "report.html")
    with Chromium(tmp_path / "profile") as browser:
        browser.open(page, "budget")
        browser.wait("document.querySelector('#main h3')")
        text = browser.js("document.querySelector('#main section section p, #main h3 + p').innerText")
        rows = browser.js("[...document.querySelectorAll('#main tbody tr')].map((row) => row.innerText)")
        assert text.startswith("Circulant 1 has the best mean score, 0.255")
        assert [row.split("\t")[0][1:].strip() for row in rows] == ["Circulant 1", "Houlsby 1", "LoRA 1"]
        browser.open(page, "scores")
        browser.wait("document.querySelector('#main table')")
        note = browser.js("document.querySelector('#main .note').innerText")
        assert "mean absolute error: as measured; mean absolute error: a lower one is better" in note
        assert browser.problems == []


def test_a_score_without_a_standard_error_has_none(runs):
    """Two machines then agree within twice the standard deviation over seeds, or exactly."""
    record = runs[0]
    assert standard_error(record) is None
    assert f"{MAE} 0.4000, 1,000 adapter" in summary(record)
    elsewhere = error_record("LoRA 1", "price", 0, 0.41)
    elsewhere = elsewhere.having(code=elsewhere.code.__class__("other"))
    assert not agree(record, elsewhere) and agree(record, elsewhere, of_seeds=[0.40, 0.42])


def test_a_record_of_another_direction_is_refused(runs, monkeypatch):
    monkeypatch.setitem(METRICS, MAE, METRICS[MAE]._replace(greater_is_better=True))
    with pytest.raises(UserError, match=f"greater_is_better of {MAE} was False, and it is True"):
        runs_frame(runs)


def test_a_metric_that_is_no_longer_there_is_refused(runs, monkeypatch):
    monkeypatch.delitem(METRICS, MAE)
    with pytest.raises(UserError, match=f"unknown metric '{MAE}': choose from accuracy, "):
        table_of(runs)
