"""Records of several runs and machines: which of them count, and how they are collected."""

import json
import math
import shutil
import threading
import time
from dataclasses import replace

import pandas as pd
import pytest
from filelock import FileLock
from support.made_up import A, B, ended, record, write_with_predictions

from surm_bench import records
from surm_bench.errors import UserError
from surm_bench.records import Archive, Disagreement, authoritative_record, collect, read_predictions
from surm_bench.records.agreement import agree, standard_error, tolerance

ELSEWHERE = {"device_kind": "Xeon, AVX2"}


def collected(folder) -> bytes:
    return (folder / "records.jsonl").read_bytes()


# Agreement


def test_on_the_same_kind_of_machine_only_equal_scores_agree():
    first = record(accuracy=0.75)
    assert agree(first, record(accuracy=0.75, created="2027"))
    assert not agree(first, record(accuracy=0.7500001))
    for key in ("device_kind", "threads", "processes", "torch"):
        assert agree(first, record(accuracy=0.7500001, **{key: 2}))
    assert agree(first, record(accuracy=0.7500001, code={"sources": "other", "method": None}))


def test_a_run_that_went_on_elsewhere_is_of_no_one_machine():
    first, segment = record(accuracy=0.75), record(**ELSEWHERE).segments[0]
    resumed = record(accuracy=0.76, segments=[segment, *first.segments])
    assert agree(first, resumed) and agree(resumed, first)
    assert not agree(resumed, record(accuracy=0.77, segments=resumed.segments))


def test_elsewhere_two_binomial_standard_errors_decide():
    """By hand: √(0.75·0.25/300) = 0.025."""
    first = record(accuracy=0.75, n=300)
    assert standard_error(first) == pytest.approx(0.025)
    assert agree(first, record(accuracy=0.7999, n=300, **ELSEWHERE))
    assert not agree(first, record(accuracy=0.8001, n=300, **ELSEWHERE))
    seeds = [0.7, 0.8]  # sd 0.0707
    assert tolerance(first, seeds) == pytest.approx(2 * 0.1 / math.sqrt(2))
    assert agree(first, record(accuracy=0.89, n=300, **ELSEWHERE), seeds)


def test_the_standard_error_of_a_correlation():
    """(1 − ρ²)/√(n − 1), by hand."""
    scores = {"reported": {"last": {"matthews_correlation": 0.6}}}
    made = record(scores=scores, primary_metric="matthews_correlation", n=65)
    assert standard_error(made) == pytest.approx(0.64 / 8)


def test_without_a_known_standard_error_only_equal_scores_agree():
    """Of a metric that another version had, or of a record without numbers of examples."""
    rmse = {"scores": {"reported": {"last": {"rmse": 0.5}}}, "primary_metric": "rmse"}
    for fields in (rmse, {"examples": {}}):
        first, same = record(**fields), record(**fields, **ELSEWHERE)
        assert standard_error(first) is None and agree(first, same)
        other = same.having(scores={"reported": {"last": {same.primary_metric: 0.6}}})
        assert not agree(first, other)


def test_a_run_that_diverged_agrees_with_none_that_did_not():
    assert agree(ended("diverged"), ended("diverged", **ELSEWHERE))
    assert not agree(ended("diverged"), record()) and not agree(record(), ended("diverged"))


# Which record counts


def test_a_result_counts_before_whatever_else_there_is(tmp_path):
    records.write(record(created="2026-01-02"), tmp_path)
    collect(tmp_path)
    records.write(ended("failed", created="2026-01-03"), tmp_path)
    archive = Archive(tmp_path)
    assert archive.record(A).status == authoritative_record(tmp_path, A).status == "success"
    assert archive.records() == [archive.record(A)] == archive.results()


def test_without_a_result_the_latest_counts(tmp_path):
    made = records.write(ended("interrupted"), tmp_path)
    assert Archive(tmp_path).record(A) == authoritative_record(tmp_path, A) == made
    assert Archive(tmp_path).results() == []


def machines(tmp_path, first: float, second: float) -> tuple:
    """Two results folders with a record each of the same run, the second one later and elsewhere."""
    here, there = tmp_path / "here", tmp_path / "there"
    write_with_predictions(here, record(accuracy=first, created="2026-01-01"), [0.0, 1.0])
    write_with_predictions(there, record(accuracy=second, created="2026-01-02", **ELSEWHERE), [1.0, 1.0])
    return here, there


def test_of_repeats_that_agree_the_earliest_counts_and_all_are_kept(tmp_path):
    here, there = machines(tmp_path, 0.75, 0.76)
    assert collect(there, [here]) == (2, [])
    archive = Archive(there)
    assert archive.problems == [] and len(archive.results()) == 2
    assert archive.record(A).scores["reported"]["last"]["accuracy"] == 0.75
    assert authoritative_record(there, A) == archive.record(A)


def test_repeats_that_do_not_agree_are_named_and_neither_is_used(tmp_path):
    here, there = machines(tmp_path, 0.75, 0.95)
    records.write(record(B), there)
    count, named = collect(there, [here])
    archive = Archive(there)
    assert count == 3 and named == archive.problems
    assert archive.record(A) is None and [r.run_id for r in archive.records()] == [B]
    (problem,) = archive.problems
    assert all(part in problem for part in (A, "do not agree", "0.7500 (2026-01-01", "0.9500 (2026-01-02", "none is"))
    with pytest.raises(Disagreement) as error:
        authoritative_record(there, A)
    assert str(error.value) == problem
    assert authoritative_record(there, B) is not None


@pytest.mark.parametrize("day", range(1, 7))
def test_corrected_class_names_of_a_collected_run_count_and_are_collected(tmp_path, day):
    """Whichever of the two checksums is the lower one."""
    made = write_with_predictions(tmp_path, record(created=f"2026-01-0{day}"), [0.0, 1.0])
    collect(tmp_path)
    names = [f"class {number}" for number in range(10)]
    corrected = records.write(made.having(config=made.config.having(task={"label_names": names})), tmp_path)
    for _ in range(2):  # before and after it is collected again
        assert authoritative_record(tmp_path, A) == corrected == Archive(tmp_path).record(A)
        assert set(read_predictions(Archive(tmp_path))[0]["record"]) == {corrected.checksum}
        assert collect(tmp_path) == (1, [])
    shutil.rmtree(tmp_path / "runs")
    assert Archive(tmp_path).record(A).config.task.label_names == names


def test_another_result_of_the_same_second_hides_no_collected_one(tmp_path):
    records.write(record(accuracy=0.75), tmp_path)
    collect(tmp_path)
    records.write(record(accuracy=0.95), tmp_path)
    assert len(Archive(tmp_path).results()) == 2


# Collecting


def test_a_fresh_clone_has_what_was_collected(tmp_path):
    made = [records.write(record(run), tmp_path / "here") for run in (B, A)]
    assert collect(tmp_path / "here") == (2, [])
    clone = tmp_path / "clone"
    clone.mkdir()
    shutil.copy(tmp_path / "here" / "records.jsonl", clone)
    assert Archive(clone).records() == Archive(tmp_path / "here").records() == made[::-1]
    assert authoritative_record(clone, A) == made[1] and authoritative_record(clone, "e" * 12) is None
    assert collect(clone) == (2, []) and collected(clone) == collected(tmp_path / "here")


def test_a_line_a_run_sorted_and_the_same_bytes_whatever_the_order(tmp_path):
    runs = [record(run, created=created) for run in (A, B) for created in ("2026-01-02", "2026-01-01")]
    for name, order in {"one": runs, "two": runs[::-1]}.items():
        for number, made in enumerate(order):
            part = tmp_path / name / f"part{number}"
            records.write(made, part)
            collect(tmp_path / name / "all", [part])
    assert collected(tmp_path / "one" / "all") == collected(tmp_path / "two" / "all")
    found = [json.loads(line) for line in collected(tmp_path / "one" / "all").splitlines()]
    assert [(r["run_id"], r["created"]) for r in found] == sorted((r.run_id, r.created) for r in runs)
    before = collected(tmp_path / "one" / "all")
    collect(tmp_path / "one" / "all")
    assert collected(tmp_path / "one" / "all") == before


def test_merging_is_the_same_from_either_side(tmp_path):
    here, there = machines(tmp_path, 0.75, 0.76)
    records.write(record(B), there)
    collect(here), collect(there)
    copies = {name: shutil.copytree(tmp_path / name, tmp_path / f"{name} before") for name in ("here", "there")}
    collect(here, [copies["there"]])
    collect(there, [copies["here"] / "records.jsonl"])  # a file alone does too
    assert collected(here) == collected(there) and len(collected(here).splitlines()) == 3
    assert (here / "predictions.parquet").read_bytes() == (there / "predictions.parquet").read_bytes()


def test_what_is_not_collected(tmp_path):
    records.write(record(A, git_dirty=True), tmp_path)
    records.write(ended("failed", B), tmp_path)
    records.write(ended("diverged", "d" * 12), tmp_path)
    records.write(record("e" * 12, git_dirty=None), tmp_path)  # of an installed package
    count, (problem,) = collect(tmp_path)
    assert count == 2 and problem == "1 records are not collected: the code has changes, or git could not tell"
    assert [json.loads(line)["run_id"] for line in collected(tmp_path).splitlines()] == ["d" * 12, "e" * 12]


def test_without_a_result_nothing_is_written(tmp_path):
    typo = tmp_path / "typo"
    assert collect(typo) == (0, [f"{typo} has no result to collect: run the experiment first, or name another folder"])
    assert not typo.exists()
    assert collect(tmp_path) == (0, []) and not (tmp_path / "records.jsonl").exists()


@pytest.mark.parametrize("commit", ["c", "unknown"])
def test_records_of_a_checkout_whose_state_git_could_not_tell_are_not_collected(tmp_path, commit):
    made = record()
    unknown = replace(made.environment, git_commit=commit, git_dirty=None)
    records.write(made.having(environment=unknown), tmp_path)
    records.write(record(B), tmp_path)
    count, (problem,) = collect(tmp_path)
    assert count == 1 and problem.startswith("1 records are not collected")
    assert json.loads(collected(tmp_path))["run_id"] == B


@pytest.mark.parametrize("spoil", [lambda line: line[:-20], lambda line: line.replace(b"0.75", b"0.99")])
def test_a_damaged_line_is_named_and_never_lost_by_collecting(tmp_path, spoil):
    for run in (A, B):
        records.write(record(run), tmp_path / "here")
    collect(tmp_path / "here")
    first, second = collected(tmp_path / "here").splitlines()
    clone = tmp_path / "clone"
    clone.mkdir()
    (clone / "records.jsonl").write_bytes(first + b"\n" + spoil(second) + b"\n")
    before, archive = collected(clone), Archive(clone)
    assert [made.run_id for made in archive.records()] == [A]
    assert len(archive.problems) == 1 and "records.jsonl, line 2" in archive.problems[0]
    assert authoritative_record(clone, B) is None
    with pytest.raises(UserError, match=r"records.jsonl, line 2.*collecting would lose this line"):
        collect(clone)
    assert collected(clone) == before


def test_blank_lines_are_no_records(tmp_path):
    records.write(record(), tmp_path)
    collect(tmp_path)
    whole = collected(tmp_path)
    (tmp_path / "records.jsonl").write_bytes(b"\n" + whole + b" \n\n")
    assert Archive(tmp_path).problems == [] and collect(tmp_path) == (1, [])
    assert collected(tmp_path) == whole


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_merging_nothing_is_refused(tmp_path, name):
    records.write(record(), tmp_path / "here")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"{name} has no records"):
        collect(tmp_path / "here", [tmp_path / name])
    assert not (tmp_path / "here" / "records.jsonl").exists()


def test_one_collects_at_a_time(tmp_path):
    records.write(record(), tmp_path)
    thread = threading.Thread(target=collect, args=(tmp_path,))
    with FileLock(tmp_path / "runs" / ".collect.lock"):
        thread.start()
        time.sleep(0.3)
        assert not (tmp_path / "records.jsonl").exists()
    thread.join()
    assert len(collected(tmp_path).splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"records.jsonl", "runs"}  # a repository stays clean


# Predictions


def test_predictions_are_those_of_the_record_that_counts(tmp_path):
    here, there = machines(tmp_path, 0.75, 0.76)
    collect(there, [here])
    counting = Archive(there).record(A).checksum
    for _ in range(2):  # with the repeat's own predictions beside its record, and without
        found, problems = read_predictions(Archive(there))
        assert set(found["record"]) == {counting} and set(found["run_id"]) == {A} and problems == []
        assert found["row"].tolist() == [0, 1] and found["prediction"].tolist() == [0.0, 1.0]
        shutil.rmtree(there / "runs", ignore_errors=True)


def test_merging_an_earlier_record_without_predictions_keeps_those_of_the_repeat(tmp_path):
    here, there = machines(tmp_path, 0.75, 0.76)
    collect(there)
    shutil.rmtree(there / "runs")
    (records.run_folder(here, A) / "predictions.parquet").unlink()
    before = pd.read_parquet(there / "predictions.parquet")
    count, (line,) = collect(there, [here])
    assert count == 2 and f"the predictions of 1 runs, such as {A}, are of repeats and not used" in line
    pd.testing.assert_frame_equal(pd.read_parquet(there / "predictions.parquet"), before)
    assert len(read_predictions(Archive(there))[0]) == 0  # of another record than the one that counts
    write_with_predictions(here, record(accuracy=0.75, created="2026-01-01"), [0.0, 1.0])
    assert collect(there, [here])[1] == []
    assert read_predictions(Archive(there))[0]["prediction"].tolist() == [0.0, 1.0]
    assert pd.read_parquet(there / "predictions.parquet")["record"].nunique() == 2


def test_predictions_of_tuning_runs_are_not_collected(tmp_path):
    scores = {"validation": {"last": {"accuracy": 0.5}, "best": {"accuracy": 0.5}}}
    write_with_predictions(tmp_path, record(scores=scores, examples={"validation": 2}), [0.0, 1.0])
    assert collect(tmp_path) == (1, []) and not (tmp_path / "predictions.parquet").exists()


def test_predictions_that_are_not_what_was_written(tmp_path):
    for run in (A, B):
        write_with_predictions(tmp_path, record(run), [0.0, 1.0])
    path = records.run_folder(tmp_path, A) / "predictions.parquet"
    whole = path.read_bytes()
    for content in (whole[:100], whole.replace(b"reported", b"rexorted"), b""):
        path.write_bytes(content)
        found, problems = read_predictions(Archive(tmp_path))
        assert set(found["run_id"]) == {B}
        problem = f"{path} is not the file that run {A} wrote; this file is left out: run it again with rerun=true"
        assert problems == [problem]
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "predictions.parquet").write_bytes(whole[:100])
    found, (problem,) = read_predictions(Archive(tmp_path))
    assert len(found) == 0
    assert "cannot be read" in problem and "\n" not in problem


def test_predictions_are_collected_to_the_same_bytes(tmp_path):
    for run in (B, A):
        write_with_predictions(tmp_path, record(run), [0.0, 1.0])
    collect(tmp_path)
    before = (tmp_path / "predictions.parquet").read_bytes()
    shutil.rmtree(tmp_path / "runs")
    collect(tmp_path)
    assert (tmp_path / "predictions.parquet").read_bytes() == before
    assert pd.read_parquet(tmp_path / "predictions.parquet")["run_id"].tolist() == [A, A, B, B]
