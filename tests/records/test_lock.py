"""A run is trained by one process at a time; a lock ends with the process that made it."""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from support.made_up import A

from surm_bench.records import Locked, Lost, check_held, held, lock, locked, running
from surm_bench.system.atomic import atomic
from surm_bench.system.storage import StorageError

HOLD = """
import sys, time
from pathlib import Path
from surm_bench.records import Locked, locked
try:
    with locked(Path(sys.argv[1])):
        print("locked", flush=True)
        time.sleep(float(sys.argv[2]))
except Locked:
    print("refused", flush=True)
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / A


@pytest.fixture
def holder(folder):
    """Starts a process that locks the run for so many seconds."""
    processes = []

    def begin(seconds: float) -> subprocess.Popen:
        command = [sys.executable, "-c", HOLD, str(folder), str(seconds)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def locked_elsewhere(folder, seconds_ago: float) -> None:
    """As a process of another host leaves it, whose last sign of life is so old."""
    folder.mkdir(parents=True)
    path = folder / "lock.json"
    path.write_text(json.dumps({"host": "another", "pid": os.getpid(), "born": 0.0, "since": "then"}))
    os.utime(path, (time.time() - seconds_ago,) * 2)


def test_it_is_held_for_as_long_as_the_block_runs(folder):
    with locked(folder):
        with (
            pytest.raises(Locked, match=f"process {os.getpid()} on .* has been training run {A} since ") as error,
            locked(folder),
        ):
            pytest.fail("locked twice")
        assert "\n" not in str(error.value)
    with pytest.raises(KeyError), locked(folder):
        raise KeyError
    assert not (folder / "lock.json").exists()


def test_of_four_processes_one_has_it(folder, holder):
    processes = [holder(60) for _ in range(4)]
    assert sorted(process.stdout.readline() for process in processes) == ["locked\n"] + ["refused\n"] * 3


@pytest.mark.parametrize("waited_for", [True, False], ids=["gone", "zombie"])
def test_a_lock_of_a_dead_process_of_this_host_is_void_at_once(folder, holder, waited_for):
    process = holder(60)
    assert process.stdout.readline() == "locked\n"
    with pytest.raises(Locked, match=f"process {process.pid} "), locked(folder):
        pass
    process.send_signal(signal.SIGKILL)
    if waited_for:
        process.wait()
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table of processes
    with locked(folder):
        assert json.loads((folder / "lock.json").read_text())["pid"] == os.getpid()


def test_a_process_that_only_has_the_same_number_holds_nothing(folder):
    with locked(folder):
        mine = json.loads((folder / "lock.json").read_text())
    (folder / "lock.json").write_text(json.dumps(mine | {"born": mine["born"] - 100}))
    with locked(folder):
        pass


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc/stat has the time of boot")
@pytest.mark.parametrize("step", [-3600, 3600])
def test_a_step_of_the_system_clock_voids_no_lock(folder, tmp_path, monkeypatch, step):
    """Linux computes the time of boot from the clock, so a step of the clock moves it (proc(5): btime)."""
    with locked(folder):
        lines = Path("/proc/stat").read_text().splitlines()
        moved = [f"btime {int(line.split()[1]) + step}" if line.startswith("btime") else line for line in lines]
        (tmp_path / "stat").write_text("\n".join(moved))
        (tmp_path / str(os.getpid())).symlink_to(f"/proc/{os.getpid()}")
        born = psutil.Process().create_time()
        monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
        assert psutil.Process().create_time() == pytest.approx(born + step, abs=2)
        with pytest.raises(Locked), locked(folder):
            pytest.fail("locked twice")
        check_held(folder)


def test_a_lock_of_an_older_version_has_the_birth_by_the_system_clock(folder):
    with locked(folder):
        mine = json.loads((folder / "lock.json").read_text())
        born = psutil.Process().create_time()
        (folder / "lock.json").write_text(json.dumps(mine | {"born": born}))
        assert lock.holder(folder)["born"] == born
        check_held(folder)


def test_a_lock_of_another_host_is_void_after_its_silence(folder):
    locked_elsewhere(folder, seconds_ago=5)
    with pytest.raises(Locked, match="on another"), locked(folder, silence=60):
        pass
    with locked(folder, silence=4):
        pass


def test_a_lock_gives_signs_of_life(folder):
    with locked(folder, beat=0.05):
        os.utime(folder / "lock.json", (0, 0))
        deadline = time.monotonic() + 60
        while (folder / "lock.json").stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_lock_that_was_copied_with_its_folder_is_void_when_it_is_old(folder, tmp_path):
    """The process that holds the run lives, but gives its signs of life elsewhere."""
    with locked(folder, beat=0.05):
        copy = tmp_path / "copy" / A
        shutil.copytree(folder, copy)
        with pytest.raises(Locked), locked(copy):
            pass
        os.utime(copy / "lock.json", (0, 0))
        with locked(copy):
            check_held(copy)
        check_held(folder)


@pytest.mark.parametrize(("seconds_ago", "runs"), [(5, [A]), (1000, [])])
def test_running_runs_are_listed_where_nothing_can_be_written(folder, tmp_path, monkeypatch, seconds_ago, runs):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    locked_elsewhere(folder, seconds_ago)
    monkeypatch.setattr(Path, "touch", refuse)
    assert [run.run_id for run in running(tmp_path)] == runs


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', "\x00"])
def test_a_lock_that_cannot_be_read_is_none(folder, text):
    folder.mkdir(parents=True)
    (folder / "lock.json").write_text(text)
    with locked(folder):
        assert json.loads((folder / "lock.json").read_text())["pid"] == os.getpid()


def taken_over(folder) -> dict:
    """As another host leaves it that took the run over."""
    other = {"host": "another", "pid": 1, "born": 0.0, "since": "now"}
    (folder / "lock.json").write_text(json.dumps(other))
    return other


def test_a_lock_that_another_took_over_is_left_to_it(folder):
    with locked(folder):
        other = taken_over(folder)
    assert json.loads((folder / "lock.json").read_text()) == other


def test_a_lock_that_another_took_over_gets_no_signs_of_life(folder):
    with locked(folder, beat=0.05):
        taken_over(folder)
        os.utime(folder / "lock.json", (0, 0))
        time.sleep(0.5)
        assert (folder / "lock.json").stat().st_mtime == 0


def test_a_lost_lock_is_found_before_anything_is_written(folder):
    with locked(folder):
        check_held(folder)
        with held(folder):
            pass
        taken_over(folder)
        for check in (lambda: check_held(folder), held(folder).__enter__):
            with pytest.raises(Lost, match=f"process 1 on another took over run {A}: this process stopped"):
                check()
        (folder / "lock.json").unlink()  # the other one has finished
        with pytest.raises(Lost, match="another process took over"):
            check_held(folder)


def test_a_folder_that_is_gone_is_no_lost_lock_and_is_not_made_again(folder):
    with locked(folder):
        shutil.rmtree(folder)
        for check in (lambda: check_held(folder), held(folder).__enter__):
            with pytest.raises(StorageError, match="no longer exists"):
                check()
    assert not folder.exists()


def test_while_a_lock_is_held_for_writing_it_is_not_taken_over(folder, monkeypatch):
    """By another host, though the last sign of life is old."""
    with locked(folder), held(folder):
        os.utime(folder / "lock.json", (0, 0))
        monkeypatch.setattr(socket, "gethostname", lambda: "other")
        thread = threading.Thread(target=lambda: locked(folder).__enter__())
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        assert json.loads((folder / "lock.json").read_text())["host"] != "other"
    thread.join()


@pytest.mark.parametrize("differs", ["host", "container"])
def test_two_hosts_with_equal_numbers_of_processes(folder, monkeypatch, differs):
    """One process as two: the other has the same number and time of birth, as two containers of one image may."""

    def move_to(name: str) -> None:
        host, space = (name, "pid:[1]") if differs == "host" else ("a", name)
        monkeypatch.setattr(socket, "gethostname", lambda: host)
        monkeypatch.setattr(lock, "_pids", lambda: space)

    move_to("a")
    with locked(folder, beat=1000):
        move_to("b")
        with pytest.raises(Locked, match=f"process {os.getpid()} on a "), locked(folder, silence=60):
            pass
        with pytest.raises(Lost):
            check_held(folder)
        os.utime(folder / "lock.json", (0, 0))
        with locked(folder, silence=60):
            check_held(folder)
            move_to("a")
            with pytest.raises(Lost, match="took over run"):
                check_held(folder)
            move_to("b")
        move_to("a")


def test_two_hosts_with_equal_numbers_of_processes_write_one_file(tmp_path):
    """Each its own temporary file, though both know themselves by one number."""
    with atomic(tmp_path / "table.md") as one, atomic(tmp_path / "table.md") as other:
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "table.md").read_text() == "one" and len(list(tmp_path.iterdir())) == 1
