"""Runs that end when time is up, with their states saved, and that the same call continues."""

import os
import signal
import time
from threading import Thread

import pytest
from support.runs import wait_for

from surm_bench.command.main import command
from surm_bench.experiment import launching
from surm_bench.experiment.deadline import TIME_UP, TimeUp, deadline
from surm_bench.experiment.jobs import Job
from surm_bench.experiment.running import run_jobs
from surm_bench.records import Archive

SHORT = ("model=vit_digits", "task=digits", "task.max_train_samples=200", "task.max_eval_samples=60")
SHORT += ("trainer.max_steps=300", "trainer.progress=false")
JOBS = [Job("digits", "bitfit", seed, (), SHORT, ("adapter=bitfit",)) for seed in (0, 1)]


def in_this_process(jobs, folder, until):
    return run_jobs(jobs, folder, "tiny", until=until)


def launched(jobs, folder, until):
    return run_jobs(jobs, folder, "tiny", until=until, launcher="joblib")


@pytest.fixture
def one_process(monkeypatch):
    """The launched runs, in this process."""
    monkeypatch.setattr(launching, "_joblib", lambda _: lambda run, work: [run(*one) for one in work])


@pytest.mark.parametrize("run", [in_this_process, launched])
def test_a_run_that_time_ends_is_continued(tmp_path, one_process, run):
    """The signal of the timer comes after the first epoch."""

    def wait_and_signal():
        logs = (tmp_path / "runs").glob
        wait_for(lambda: any("epoch" in log.read_text() for log in logs("*/run.log")))
        os.kill(os.getpid(), signal.SIGALRM)

    waiting = Thread(target=wait_and_signal)
    waiting.start()
    assert run(JOBS[:1], tmp_path, time.time() + 3600) == [TIME_UP]
    waiting.join()
    (record,) = Archive(tmp_path).records()
    assert (record.status, record.error) == ("interrupted", "time is up")
    assert run(JOBS[:1], tmp_path, time.time() + 3600) == []
    (record,) = Archive(tmp_path).records()
    assert record.status == "success" and record.segments[1]["from_step"] > 0


@pytest.mark.parametrize("run", [in_this_process, launched])
def test_no_run_begins_when_time_is_up(tmp_path, one_process, run):
    assert run(JOBS, tmp_path, time.time()) == [TIME_UP]
    assert list((tmp_path / "runs").iterdir()) == []


def test_the_timer_ends_a_block_in_time():
    before, begun = signal.getsignal(signal.SIGALRM), time.monotonic()
    with pytest.raises(TimeUp), deadline(time.time() + 0.1):
        time.sleep(60)
    assert time.monotonic() - begun < 30
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0) and signal.getsignal(signal.SIGALRM) is before


@pytest.mark.parametrize("until", [None, 3600])
def test_a_block_that_ends_before_is_left_alone(until):
    with deadline(until and time.time() + until):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_a_duration_is_a_number_above_zero(text, capsys):
    with pytest.raises(SystemExit) as ended:
        command(["tune", "demo", "--seconds", text])
    assert ended.value.code == 2 and "--seconds" in capsys.readouterr().err
