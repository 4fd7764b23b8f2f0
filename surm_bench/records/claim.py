"""A run is claimed while it trains, so that two workers never train one run."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock

from surm_bench.atomic import atomic, token
from surm_bench.errors import UserError
from surm_bench.storage import check_there

FILE = "claim.json"
LOCK = ".lock"
PIDS = Path("/proc/self/ns/pid")  # on Linux: which numbers of processes those of this one are among
BEAT = 10.0  # seconds between two signs of life
SILENCE = 120.0  # seconds without one after which a claim is void


class Claimed(UserError):
    """Another process trains this run."""


class Lost(Claimed):
    """This process trained the run, and another took it over: its result is not to be written."""


@contextmanager
def claim(folder: Path, beat: float = BEAT, silence: float = SILENCE) -> Iterator[None]:
    """Hold a run's folder while the block runs.

    Raises:
        Claimed: another process holds it, whose last sign of life is less than ``silence`` seconds old by the clock of
            the shared disk; one of this host must also still live.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, mine = folder / FILE, _myself()
    with FileLock(folder / LOCK):
        if other := holder(folder, silence):
            raise Claimed(
                f"run {folder.name} is being trained by process {other['pid']} on {other['host']} "
                f"(since {other['since']})"
            )
        _write(path, mine)
    stop = threading.Event()
    beater = threading.Thread(target=_beat, args=(path, mine, stop, beat), daemon=True)
    beater.start()
    try:
        yield
    finally:
        stop.set()
        beater.join()
        if folder.is_dir():  # FileLock would make it again
            with FileLock(folder / LOCK):
                if _read(path) == mine:
                    path.unlink(missing_ok=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep a claim of this process from being taken over while the block writes.

    Raises:
        Lost: it was taken over before.
        StorageError: the folder is gone.
    """
    check_there(folder)
    with FileLock(folder / LOCK):
        check_held(folder)
        yield


def check_held(folder: Path) -> None:
    """Raise Lost where a run's folder is not claimed by this process any more, or StorageError where it is gone."""
    found = _read(folder / FILE)
    if found is not None and _is_mine(found):
        return
    check_there(folder)
    by = f"process {found['pid']} on {found['host']}" if found else "another process"
    raise Lost(f"run {folder.name} was taken over by {by}: this one stopped, and wrote no result")


def holder(folder: Path, silence: float = SILENCE) -> dict | None:
    """The pid, host and start (since) of the process that holds a run's folder; None where no living one does."""
    path = folder / FILE
    found = _read(path)
    return found if found is not None and _holds(found, path, silence) else None


def _myself() -> dict:
    now = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    born = psutil.Process().create_time()  # a pid alone may be somebody else's by now
    return {"host": socket.gethostname(), "pids": _pids(), "pid": os.getpid(), "born": born, "since": now}


def _pids() -> str | None:
    """What tells containers apart that share the name of their host."""
    return os.readlink(PIDS) if PIDS.is_symlink() else None


def _is_here(holder: dict) -> bool:
    return (holder["host"], holder.get("pids")) == (socket.gethostname(), _pids())


def _is_mine(holder: dict) -> bool:
    same = _is_here(holder) and holder["pid"] == os.getpid()
    return same and abs(psutil.Process().create_time() - holder["born"]) < 1


def _holds(holder: dict, path: Path, silence: float) -> bool:
    """Whether the process that wrote a claim still trains."""
    if _is_here(holder):
        try:
            process = psutil.Process(holder["pid"])
            same = abs(process.create_time() - holder["born"]) < 1
            if not same or process.status() == psutil.STATUS_ZOMBIE:  # dead, and its parent has not looked yet
                return False
        except psutil.Error:
            return False
    try:
        return _now(path) - path.stat().st_mtime < silence
    except FileNotFoundError:
        return False


def _now(path: Path) -> float:
    """The time by the clock of the disk that the claim lies on."""
    probe = path.with_name(f".clock.{token()}")
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()


def _beat(path: Path, mine: dict, stop: threading.Event, beat: float) -> None:
    while not stop.wait(beat):
        try:
            if _read(path) not in (None, mine):  # taken over: what beats now is not ours
                return
            os.utime(path)
        except OSError:  # the disk may be back at the next beat
            continue


def _read(path: Path) -> dict | None:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return holder if {"host", "pid", "born", "since"} <= holder.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _write(path: Path, holder: dict) -> None:
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(holder), encoding="utf-8")
