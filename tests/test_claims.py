"""A run is trained by one process at a time; a claim ends with the process that made it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from made_up import A

from surm_bench.records import Claimed, claim

HOLD = """
import sys, time
from pathlib import Path
from surm_bench.records import Claimed, claim
try:
    with claim(Path(sys.argv[1])):
        print("claimed", flush=True)
        time.sleep(float(sys.argv[2]))
except Claimed:
    print("refused", flush=True)
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / A


@pytest.fixture
def holder(folder):
    """Starts a process that claims the run for so many seconds."""
    processes = []

    def begin(seconds: float) -> subprocess.Popen:
        command = [sys.executable, "-c", HOLD, str(folder), str(seconds)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def claimed_elsewhere(folder, seconds_ago: float) -> None:
    """As a process of another host leaves it, whose last sign of life is so old."""
    folder.mkdir(parents=True)
    path = folder / "claim.json"
    path.write_text(json.dumps({"host": "another", "pid": os.getpid(), "born": 0.0, "since": "then"}))
    os.utime(path, (time.time() - seconds_ago,) * 2)


def test_it_is_held_for_as_long_as_the_block_runs(folder):
    with claim(folder):
        with (
            pytest.raises(Claimed, match=f"run {A} is being trained by process {os.getpid()} on ") as error,
            claim(folder),
        ):
            pytest.fail("claimed twice")
        assert "\n" not in str(error.value)
    with pytest.raises(KeyError), claim(folder):
        raise KeyError
    assert not (folder / "claim.json").exists()


def test_of_four_processes_one_has_it(folder, holder):
    processes = [holder(60) for _ in range(4)]
    assert sorted(process.stdout.readline() for process in processes) == ["claimed\n"] + ["refused\n"] * 3


@pytest.mark.parametrize("waited_for", [True, False], ids=["gone", "zombie"])
def test_a_claim_of_a_dead_process_of_this_host_is_void_at_once(folder, holder, waited_for):
    process = holder(60)
    assert process.stdout.readline() == "claimed\n"
    with pytest.raises(Claimed, match=f"process {process.pid} "), claim(folder):
        pass
    process.send_signal(signal.SIGKILL)
    if waited_for:
        process.wait()
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table of processes
    with claim(folder):
        assert json.loads((folder / "claim.json").read_text())["pid"] == os.getpid()


def test_a_process_that_only_has_the_same_number_holds_nothing(folder):
    with claim(folder):
        mine = json.loads((folder / "claim.json").read_text())
    (folder / "claim.json").write_text(json.dumps(mine | {"born": mine["born"] - 100}))
    with claim(folder):
        pass


def test_a_claim_of_another_host_is_void_after_its_silence(folder):
    claimed_elsewhere(folder, seconds_ago=5)
    with pytest.raises(Claimed, match="on another"), claim(folder, silence=60):
        pass
    with claim(folder, silence=4):
        pass


def test_a_claim_gives_signs_of_life(folder):
    with claim(folder, beat=0.05):
        os.utime(folder / "claim.json", (0, 0))
        deadline = time.monotonic() + 10
        while (folder / "claim.json").stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', "\x00"])
def test_a_claim_that_cannot_be_read_is_none(folder, text):
    folder.mkdir(parents=True)
    (folder / "claim.json").write_text(text)
    with claim(folder):
        assert json.loads((folder / "claim.json").read_text())["pid"] == os.getpid()


def test_a_claim_that_another_took_over_is_left_to_it(folder):
    with claim(folder):
        other = {"host": "another", "pid": 1, "born": 0.0, "since": "now"}
        (folder / "claim.json").write_text(json.dumps(other))
    assert json.loads((folder / "claim.json").read_text()) == other
