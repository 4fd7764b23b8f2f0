"""Launchers make the same runs as this process, and their options are checked."""

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
import submitit
from submitit.core.utils import FailedJobError, UncompletedJobError
from support.made_records import CHOICES, make_record, without_training
from support.tiny_experiment import tune_by_hand

from surm_bench import records
from surm_bench.config import composition
from surm_bench.errors import UserError
from surm_bench.experiment import commands, launching
from surm_bench.experiment.jobs import reported_jobs, trial_jobs
from surm_bench.experiment.launching import launcher_of, outcome
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.running import run_jobs, run_one
from surm_bench.experiment.search import Trial
from surm_bench.run import runner


def ids(jobs, folder) -> list[str]:
    runs = Runs(folder)
    return [runs.id(job) for job in jobs]


@pytest.mark.parametrize("command", [commands.tune, commands.run])
def test_a_run_that_another_process_trains_is_left_to_it_and_the_rest_goes_on(
    tiny, options, monkeypatch, capsys, command
):
    if command is commands.run:
        tune_by_hand(tiny, options.folder)
        held, *others = reported_jobs(tiny, CHOICES)
    else:
        settings = [(adapter, setting) for adapter in tiny.adapters for setting in tiny.settings(adapter)]
        held, *others = (job for a, s in settings for job in trial_jobs(tiny, "digits", a, Trial(s)))
    trained = without_training(monkeypatch, lambda config: 0.5)
    with records.locked(records.run_folder(options.folder, *ids([held], options.folder))):
        problems = command(tiny, options)
    assert len(trained) == len(others)
    assert "skipped: process" in capsys.readouterr().out
    again = "tune again" if command is commands.tune else "give the same command again"
    assert problems == [f"other processes make the last 1 runs: {again} when they are done"]
    assert command(tiny, options) == [] and len(trained) == len(others) + 1


def test_a_launched_run_looks_in_the_users_folders(tiny, options, tmp_path, monkeypatch):
    work, found = [], []
    monkeypatch.setattr(composition, "_added", [tmp_path])
    monkeypatch.setattr(launching, "_joblib", lambda _: lambda run, given: [work.append(one) for one in given])
    run_jobs(reported_jobs(tiny, CHOICES)[:1], options.folder, "tiny", launcher="joblib")
    monkeypatch.setattr(composition, "_added", [])  # as in a new process
    monkeypatch.setattr(runner, "run", lambda *_: found.extend(composition.config_dirs()[1:]))
    assert run_one(*work[0]) is None and found == [tmp_path]


def test_a_launcher_gives_the_same_runs(tiny, options, tmp_path, monkeypatch):
    """Trained in earnest, against this process: the same id and scores; what is done is not launched again; an unknown
    launcher is refused."""
    job = reported_jobs(tiny, CHOICES)[0]
    assert run_jobs([job], tmp_path / "here", "tiny") == []
    broken = replace(job, overrides=(*job.overrides, "task.max_train_samples=7000"))
    how = {"launcher": "joblib", "options": ["hydra.launcher.n_jobs=1"]}
    (failure,) = run_jobs([job, broken], options.folder, "tiny", **how)
    assert "task.max_train_samples=7000 is outside" in failure
    monkeypatch.setattr(launching, "_joblib", lambda _: lambda *_: pytest.fail("launched"))
    assert run_jobs([job], options.folder, "tiny", **how) == []
    here, there = (Runs(folder).result(job) for folder in (tmp_path / "here", options.folder))
    assert (there.run_id, there.scores) == (here.run_id, here.scores)
    with pytest.raises(UserError, match="unknown launcher 'slurm': choose from joblib, submitit_local"):
        run_jobs([broken], options.folder, "tiny", launcher="slurm")


@pytest.mark.parametrize("launcher", [None, "joblib"])
def test_a_run_that_was_given_up_is_told_and_not_tried(tiny, options, monkeypatch, launcher):
    job, other = reported_jobs(tiny, CHOICES)[:2]
    make_record(job, options.folder, status="failed", attempts=3)
    trained = without_training(monkeypatch, lambda config: 0.5)
    (failure,) = run_jobs([job, other], options.folder, "tiny", launcher=launcher, options=["n_jobs=1"])
    assert failure.startswith(f"{job.title}: ") and "give rerun=true to try it again" in failure
    assert [seed for _, seed, _ in trained] == [other.seed]


@pytest.mark.parametrize(
    ("launcher", "option", "message"),
    [
        ("joblib", "n_job=2", "unknown option of joblib 'n_job': choose from .*n_jobs"),
        ("joblib", "n_jobs=0", "n_jobs=0 is not possible: give a number of runs at once, or -1"),
        ("joblib", "n_jobs=two", "n_jobs=two is not possible: give a number of runs at once, or -1"),
        ("joblib", "backend=threading", "unknown option of joblib 'backend': choose from n_jobs, "),
        ("joblib", "prefer=threads", "unknown option of joblib 'prefer'"),
        ("submitit_local", "n_jobs=2", "launcher submitit_local with .*n_jobs"),
    ],
)
def test_an_option_that_a_launcher_does_not_take(tmp_path, launcher, option, message):
    with pytest.raises(UserError, match=message) as error:
        launcher_of(launcher, [option], tmp_path)
    assert "\n" not in str(error.value)


def test_what_the_cluster_refuses_is_one_line(tmp_path, monkeypatch):
    def refuse(*_):
        raise FailedJobError("sbatch: error: invalid partition\nspecified: gpu")

    launch = launcher_of("submitit_local", [], tmp_path)
    monkeypatch.setattr(submitit.AutoExecutor, "map_array", refuse)
    with pytest.raises(UserError, match="launcher submitit_local: sbatch: error: invalid partition specified: gpu"):
        launch(print, [("a",)])


@pytest.mark.parametrize("error", [AssertionError(), MemoryError()])
def test_a_run_that_fails_without_a_text_has_failed(tiny, options, monkeypatch, error):
    def fail(config):
        raise error

    without_training(monkeypatch, fail)
    (failure,) = run_jobs(reported_jobs(tiny, CHOICES)[:1], options.folder, "tiny")
    assert failure.endswith(f": {type(error).__name__}")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            UncompletedJobError("Job 7 (task: 0)\nhas no output (state: OUT_OF_MEMORY)\n" + "noise\n" * 2000),
            "Job 7 (task: 0) has no output (state: OUT_OF_MEMORY) (log: 7.err)",
        ),
        (
            FailedJobError("Job failed with trace:\n---\nTraceback (most recent call last):\n  x\nOSError: gone\n---\n"
                           "You can check full logs with job.stderr"),
            "OSError: gone (log: 7.err)",
        ),
    ],
)  # fmt: skip
def test_the_error_of_a_job_is_told_without_its_output(error, line):
    job = SimpleNamespace(exception=lambda: error, paths=SimpleNamespace(stderr="7.err"))
    assert outcome(job) == line


def test_with_nothing_to_run_no_launcher_is_needed(tiny, options):
    """Off the cluster, the tables of finished runs are still written."""
    assert run_jobs([], options.folder, "tiny", launcher="submitit_slurm") == []


@pytest.mark.slow
def test_a_job_that_the_cluster_kills_is_a_line_and_the_others_keep_theirs(tmp_path):
    def die_or_return(line: str) -> str:
        if line == "die":
            os._exit(1)
        return line

    launch = launcher_of("submitit_local", ["timeout_min=5"], tmp_path)
    killed, kept = launch(die_or_return, [("die",), ("kept",)])
    assert "has not produced any output" in killed and "\n" not in killed and kept == "kept"
