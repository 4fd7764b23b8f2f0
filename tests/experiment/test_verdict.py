"""The verdict: intervals of the claims' comparisons from records and predictions, and the page that shows them."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from scipy import stats
from support.made_records import (
    CHOICES,
    make_record,
    make_trials,
    predicted,
    refuse_downloads,
    tiny_experiment,
    undeclared_experiment,
)

from surm_bench.errors import UserError
from surm_bench.experiment import claims as claims_module
from surm_bench.experiment.claims import Claims, compared, load_claims
from surm_bench.experiment.jobs import Job, reported_jobs
from surm_bench.experiment.verdict import BEGIN, END, write_verdict
from surm_bench.metrics import METRICS
from surm_bench.report.verdicts import Compared, primary_families, verdict_caption, verdict_table
from surm_bench.statistics import Interval

pytestmark = pytest.mark.usefixtures("empty_figures")
RESULTS = Path(__file__).parents[2] / "results"
EXAMPLES = 400
RIGHT = {("circulant", 0): 300, ("circulant", 1): 320, ("lora", 0): 280, ("lora", 1): 290}  # of EXAMPLES
TEXT = """
level: 0.95
margin: 0.01
claims:
  one:
    registered: 2026-01-02
    paper: it gains
    question: is it better?
    effect: 0.5
    primary: [{experiment: tiny, task: digits, first: circulant, partner: lora}]
"""


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    """A results folder with the claims, a page and the tuning runs of a tiny experiment."""
    monkeypatch.setattr(claims_module, "load_experiment", lambda name: (tiny_experiment(), []))
    (tmp_path / "claims.yaml").write_text(TEXT)
    (tmp_path / "README.md").write_text(f"Before.\n{BEGIN}\nstale\n{END}\nAfter.\n")
    make_trials(tmp_path / "tiny")
    return tmp_path


def report(folder: Path, *left_out: Job, **fields) -> None:
    """Records and predictions of the reported runs: the first so many examples are right."""
    frames = []
    for job in reported_jobs(tiny_experiment(), CHOICES):
        if job in left_out:
            continue
        right = RIGHT[job.adapter, job.seed]
        record = make_record(job, folder, right / EXAMPLES, **fields)
        frames.append(predicted(record, np.arange(EXAMPLES) < right))
    pd.concat(frames).to_parquet(folder / "predictions.parquet", index=False)


def only(results: Path) -> Compared:
    found, problems = compared(load_claims(results / "claims.yaml"), results)
    assert problems == []
    return found["one"][0]


def test_differences_are_paired_by_seed_with_examples_resampled(results):
    report(results / "tiny")
    one = only(results)
    assert (one.first, one.partner, one.trained, one.primary) == ("Circulant", "LoRA r=1", (1024, 2048), True)
    assert one.scores == pytest.approx((0.775, 0.7125))
    assert one.difference.mean == pytest.approx(0.0625)
    of_seeds = np.var([0.05, 0.075], ddof=1) / 2
    gain = np.mean([np.arange(EXAMPLES) < r for r in (300, 320)], 0) - np.mean(
        [np.arange(EXAMPLES) < r for r in (280, 290)], 0
    )
    of_examples = gain.var() / EXAMPLES  # what resampling estimates
    assert one.difference.standard_error == pytest.approx(np.sqrt(of_seeds + of_examples), rel=0.05)
    half = stats.t.ppf(0.975, one.difference.df) * one.difference.standard_error
    assert one.difference.high - one.difference.mean == pytest.approx(half)
    assert not one.lacking


def test_of_an_error_the_lower_score_is_better(results, monkeypatch):
    """Numbers that mean a gain as accuracies mean a loss as errors: difference and verdict change their sides."""
    for seed in (0, 1):
        monkeypatch.setitem(RIGHT, ("circulant", seed), 300)
        monkeypatch.setitem(RIGHT, ("lora", seed), 200)
    report(results / "tiny")
    gain = only(results)
    assert (gain.title, gain.verdict) == ("Circulant − LoRA r=1, digits", "better")
    monkeypatch.setitem(METRICS, "accuracy", METRICS["accuracy"]._replace(greater_is_better=False))
    shutil.rmtree(results / "tiny")
    make_trials(results / "tiny", chosen=0.4, other=0.6, greater_is_better=False)
    report(results / "tiny", greater_is_better=False)
    loss = only(results)
    assert (loss.title, loss.verdict) == ("LoRA r=1 − Circulant, digits", "worse")
    assert loss.scores == gain.scores and loss.difference.mean == -gain.difference.mean == pytest.approx(-0.25)
    assert (loss.difference.low, loss.difference.high) == pytest.approx((-gain.difference.high, -gain.difference.low))
    lower = "Where a lower score is better (digits), the difference is the second score minus the first."
    assert lower in verdict_caption([loss], 0.95, []) and lower not in verdict_caption([gain], 0.95, [])


def test_scores_that_are_no_percentages_have_no_verdict(results, monkeypatch):
    report(results / "tiny")
    monkeypatch.setitem(METRICS, "accuracy", METRICS["accuracy"]._replace(percent=False))
    with pytest.raises(UserError, match="digits of tiny is scored by accuracy, which is not a percentage"):
        only(results)


def test_a_missing_run_is_pending_and_a_diverged_one_a_missing_pair(results):
    missing = next(job for job in reported_jobs(tiny_experiment(), CHOICES) if job.adapter == "lora" and job.seed == 1)
    report(results / "tiny", missing)
    one = only(results)
    assert (one.difference.n, one.difference.n_missing, one.planned) == (1, 0, 2)
    assert one.lacking == "1 of 2 pairs of runs are complete." and one.verdict == "pending"
    assert np.isnan([*one.difference[:5], *one.check[:5], *one.scores]).all(), "no early look"
    make_record(missing, results / "tiny", status="diverged")
    one = only(results)
    assert (one.difference.n, one.difference.n_missing) == (1, 1)
    assert not one.lacking and one.verdict == "undecided"
    assert one.scores == pytest.approx((300 / EXAMPLES, 280 / EXAMPLES))  # of the complete pair


def test_without_any_run_everything_is_pending(results):
    one = only(results)
    assert (one.difference.n, one.trained, one.verdict) == (0, (None, None), "pending")


def test_runs_scored_on_other_rows_are_no_pairs(results):
    report(results / "tiny")
    path = results / "tiny" / "predictions.parquet"
    frame = pd.read_parquet(path)
    frame.loc[frame["record"] == frame["record"].iloc[0], "row"] += 1
    frame.to_parquet(path, index=False)
    said = "tiny: the runs of Circulant and LoRA r=1 on digits were scored on different rows and cannot be paired"
    with pytest.raises(UserError, match=said):
        only(results)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("task: digits", "task: numbers", "unknown task of tiny 'numbers': choose from digits"),
        ("first: circulant", "first: circulent", "unknown row of tiny 'circulent': choose from circulant, lora"),
        ("margin: 0.01", "margins: 0.01", "margins"),
        ("level: 0.95", "level: high", "level"),
        ("level: 0.95", "level: 95", "level=95"),
        ("margin: 0.01", "margin: 0", "margin 0"),
        ("paper: it gains", "paper: it gains \udcff", "claims.yaml"),
    ],
)
def test_wrong_claims_are_refused(results, old, new, message):
    (results / "claims.yaml").write_text(TEXT.replace(old, new), errors="surrogateescape")
    with pytest.raises(UserError, match=message):
        write_verdict(results)


def test_the_page_is_written_between_its_marks_and_the_same_twice(results):
    report(results / "tiny")
    write_verdict(results)
    page = (results / "README.md").read_text()
    assert page.startswith(f"Before.\n{BEGIN}\n") and page.endswith(f"{END}\nAfter.\n") and "stale" not in page
    assert "| Circulant | LoRA r=1 | tiny " in re.sub(" +", " ", page) and "2 of 2 |" in page
    whole = (results / "verdict" / "README.md").read_text()
    assert "**Circulant against LoRA r=1, digits: " in whole and "A gain of 50 points is " in whole
    assert (results / "verdict" / "differences.png").is_file()
    write_verdict(results)
    assert (results / "README.md").read_text() == page
    (results / "README.md").write_text("no marks")
    with pytest.raises(UserError, match="lacks the marks"):
        write_verdict(results)


def made(mean: float, error: float, primary: bool, pairs: int = 5, **fields) -> Compared:
    half = stats.t.ppf(0.975, 4) * error
    difference = Interval(mean, mean - half, mean + half, error, 4, pairs, 0)
    about = {"first": "a", "partner": "b", "experiment": "e", "task": "task"}
    about |= {"registered": "2026-01-02", "margin": 0.01, "planned": 5}
    counts = {"trained": (2000, 1000), "stored": (1000, 1000), "scores": (0.5, 0.5 - mean)}
    return Compared(**about | counts | {"primary": primary, "difference": difference, "check": difference} | fields)


def table(found: list[Compared]):
    return verdict_table(found, primary_families(found), 0.95)


def test_each_family_is_corrected_by_itself_and_only_when_it_is_whole():
    family = [made(0.02, 0.01, False), made(0.03, 0.01, False), made(0.001, 0.01, False)]
    data = table([*family, made(0.02, 0.01, True)]).data
    p = [2 * stats.t.sf(t, 4) for t in (2, 3, 0.1)]
    assert data["primary"].tolist() == [True, False, False, False]
    np.testing.assert_allclose(data["p"], [p[0], *p])
    np.testing.assert_allclose(data["p_holm"], [p[0], 2 * p[0], 3 * p[1], max(2 * p[0], p[2])])
    data = table([*family, made(0.01, 0.01, False, pairs=4, lacking="4 of 5 pairs of runs are complete.")]).data
    assert data["p_holm"].isna().all() and data["verdict"].tolist()[-1] == "pending"


def test_primary_comparisons_of_one_day_are_one_family():
    """Holm over two claims of one day; a claim of another day is a family of its own."""
    first, second = made(0.02, 0.01, True), made(0.03, 0.01, True, first="c")
    later = made(0.03, 0.01, True, registered="2026-03-04")
    p = [2 * stats.t.sf(t, 4) for t in (2, 3)]
    corrected = primary_families([first, second, later])
    assert [corrected[one].declared for one in (first, second, later)] == pytest.approx([p[0], 2 * p[1], p[1]])


def test_the_check_is_corrected_within_the_same_family():
    one, other = made(0.02, 0.01, False), made(0.03, 0.01, False)
    wider = [replace(each, check=made(each.difference.mean, 0.02, False).check) for each in (one, other)]
    p = [2 * stats.t.sf(t, 4) for t in (1, 1.5)]
    np.testing.assert_allclose(table(wider).data["p_check"], [max(p[0], 2 * p[1]), 2 * p[1]])


def test_a_comparison_that_is_only_described_has_an_interval_and_no_test():
    row = table([made(-0.2, 0.001, False, tested=False)])
    assert row.data[["p", "p_holm", "p_check"]].isna().all(axis=None)
    assert [cell.text for cell in row.rows[0][9:12]] == ["—"] * 3 and row.rows[0][-1].text == "described"
    assert row.rows[0][7].text.startswith("-20.0 [")


def test_a_row_says_what_it_could_have_seen_and_what_is_spanned():
    row = [cell.text for cell in table([made(-0.02, 0.005, True)]).rows[0]]
    assert row[2] == "2,000 (1,000) / 1,000"
    # 80 % of the noncentral t distribution with 4 degrees of freedom is above its critical value, 2.776
    distance = float(row[-3]) / 100
    assert stats.nct.sf(stats.t.ppf(0.975, 4), 4, distance / 0.005) == pytest.approx(0.8, abs=0.01)
    assert row[-2] == f"{stats.nct.sf(stats.t.ppf(0.975, 4), 4, 0.01 / 0.005):.0%}"


def test_three_seeds_give_no_p_value_below_one_in_a_hundred():
    five, three = (table([made(-0.2, 0.001, True, pairs=n, planned=n)]).rows[0] for n in (5, 3))
    assert [cell.text for cell in five[9:12]] == ["< 0.001"] * 3
    assert [cell.text for cell in three[9:12]] == ["< 0.01"] * 3


THIRD = {0: 260, 1: 200}  # how many of EXAMPLES a third method gets right, by seed


@pytest.fixture
def three(results, monkeypatch) -> Path:
    """A table of three methods, of which the third has another spread, and a pooled claim on the first two."""
    tiny = tiny_experiment()
    tiny.adapters["lora_r8"] = ["adapter=lora", "adapter.peft.r=8"]
    tiny.tuning.knobs["lora_r8"] = {}
    monkeypatch.setattr(claims_module, "load_experiment", lambda name: (tiny, []))
    (results / "claims.yaml").write_text(TEXT.replace("    effect", "    pooled: true\n    margin: 0.02\n    effect"))
    report(results / "tiny")
    return results


def add_third(results: Path, *seeds: int) -> None:
    """Records and predictions of the third method."""
    tiny = claims_module.load_experiment("tiny")[0]
    jobs = [job for job in reported_jobs(tiny, {("digits", "lora_r8"): ()}) if job.seed in seeds]
    path = results / "tiny" / "predictions.parquet"
    frames = [
        predicted(make_record(job, results / "tiny", THIRD[job.seed] / EXAMPLES), np.arange(EXAMPLES) < THIRD[job.seed])
        for job in jobs
    ]
    pd.concat([pd.read_parquet(path), *frames]).to_parquet(path, index=False)


def test_a_pooled_claim_takes_the_error_variance_of_all_methods_of_the_table(three):
    """The residual variance of three methods on two seeds is a half of the sample variance of their changes between the
    seeds. A difference has twice this variance, over two seeds, and the variance of the test examples."""
    add_third(three, 0, 1)
    one = only(three)
    changes = np.array([(320 - 300), (290 - 280), (THIRD[1] - THIRD[0])]) / EXAMPLES
    of_seeds = 2 * (changes.var(ddof=1) / 2) / 2
    gain = np.mean([np.arange(EXAMPLES) < r for r in (300, 320)], 0) - np.mean(
        [np.arange(EXAMPLES) < r for r in (280, 290)], 0
    )
    assert one.margin == 0.02 and one.difference.mean == one.check.mean == pytest.approx(0.0625)
    wanted = np.sqrt(of_seeds + gain.var() / EXAMPLES)
    assert one.difference.standard_error == pytest.approx(wanted, rel=0.05)
    assert one.check.standard_error < wanted / 2  # of the two methods alone


@pytest.mark.parametrize("seeds", [(), (0,)])
def test_a_pooled_claim_waits_for_all_methods_of_the_table(three, seeds):
    if seeds:
        add_third(three, *seeds)
    one = only(three)
    assert (one.difference.n, one.planned, one.verdict) == (2, 2, "pending")
    assert np.isnan([*one.difference[:5], *one.check[:5], *one.scores]).all()
    assert "some of them have not been run on all seeds" in one.lacking


def test_the_check_waits_for_all_methods_of_the_table(three):
    (three / "claims.yaml").write_text(TEXT)
    one = only(three)
    assert not one.lacking and np.isfinite(one.difference.low) and np.isnan(one.check.low)


def test_a_pooled_claim_needs_two_methods(results, monkeypatch):
    tiny = tiny_experiment()
    monkeypatch.setattr(claims_module, "load_experiment", lambda name: (tiny, []))
    (results / "claims.yaml").write_text(TEXT.replace("    effect", "    pooled: true\n    effect"))
    report(results / "tiny", parameters={"adapter": 0, "head": 650, "other": 0, "total": 650, "stored": 0})
    with pytest.raises(UserError, match="claim one is pooled, but digits of tiny has no error variance"):
        only(results)


def test_missing_predictions_are_told_and_nothing_is_judged(results):
    """They are no diverged runs."""
    report(results / "tiny")
    path = results / "tiny" / "predictions.parquet"
    frame = pd.read_parquet(path)
    lost = frame["run_id"].iloc[0]
    frame[frame["run_id"] != lost].to_parquet(path, index=False)
    found, problems = compared(load_claims(results / "claims.yaml"), results)
    assert problems == [f"tiny: the predictions of 1 runs are missing, such as {lost}"]
    assert found["one"][0].verdict == "pending"
    assert found["one"][0].lacking == "The predictions of 1 runs are missing."


def test_pairs_without_an_interval_are_answered_without_numbers(results):
    jobs = reported_jobs(tiny_experiment(), CHOICES)
    report(results / "tiny", *(job for job in jobs if job.seed == 1))
    for job in (job for job in jobs if job.seed == 1):
        make_record(job, results / "tiny", status="diverged")
    write_verdict(results)
    whole = (results / "verdict" / "README.md").read_text()
    assert "undecided**, 1 pairs of runs have scores, which give no interval." in whole and "nan" not in whole


def test_an_experiment_that_reports_nothing_is_refused(results, monkeypatch):
    monkeypatch.setattr(claims_module, "load_experiment", lambda name: (replace(tiny_experiment(), seeds=[]), []))
    with pytest.raises(UserError, match="tiny has no reported seeds"):
        only(results)


def test_a_comparison_that_is_only_described_belongs_to_no_family():
    one, other = made(0.02, 0.01, True), made(0.03, 0.01, True, first="c")
    described = made(0.03, 0.01, True, first="d", tested=False)
    p = [2 * stats.t.sf(t, 4) for t in (2, 3)]
    corrected = primary_families([one, other, described])
    assert [corrected[each].declared for each in (one, other)] == pytest.approx([max(p[0], 2 * p[1]), 2 * p[1]])
    assert corrected[described] == (None, None)


def test_the_committed_page_is_what_its_records_say(tmp_path):
    """The page, tables and picture of the repository, written again from its records."""
    for name in ("claims.yaml", "README.md"):
        shutil.copy(RESULTS / name, tmp_path / name)
    claims: Claims = load_claims(RESULTS / "claims.yaml")
    for name in {c.experiment for claim in claims.claims.values() for c in [*claim.primary, *claim.secondary]}:
        (tmp_path / name).mkdir()
        for file in ("records.jsonl", "predictions.parquet"):
            if (RESULTS / name / file).is_file():
                shutil.copy(RESULTS / name / file, tmp_path / name / file)
    write_verdict(tmp_path)
    assert (tmp_path / "README.md").read_text() == (RESULTS / "README.md").read_text()
    for path in [*(RESULTS / "verdict").glob("*.csv"), RESULTS / "verdict" / "README.md"]:
        assert (tmp_path / "verdict" / path.name).read_text() == path.read_text()


def test_a_verdict_downloads_nothing(results, monkeypatch):
    monkeypatch.setattr(claims_module, "load_experiment", lambda name: (undeclared_experiment(), []))
    read = refuse_downloads(monkeypatch)
    assert write_verdict(results)[1] == [] and read


def test_claims_say_what_the_file_says():
    claims, raw = load_claims(RESULTS / "claims.yaml"), OmegaConf.load(RESULTS / "claims.yaml")
    assert list(claims.claims) == list(raw.claims) and claims.margin == raw.margin
