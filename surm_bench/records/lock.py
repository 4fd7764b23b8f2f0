"""Locks of running runs. A worker holds the lock of a run while it trains, so that no other worker trains the run."""

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

from surm_bench.errors import UserError
from surm_bench.system.atomic import atomic, token
from surm_bench.system.storage import check_there

LOCK_FILE = "lock.json"
GUARD_FILE = ".lock"  # held for the moments in which the lock is read or written
PIDS = Path("/proc/self/ns/pid")  # Linux: the namespace of this process's id
BEAT = 10.0  # seconds between two updates of the lock's time
SILENCE = 120.0  # seconds without an update after which a lock is void
ROUNDING = 3.0  # seconds: Linux gives the time of boot in whole seconds, and its rounding may change between two reads


class Locked(UserError):
    """Another process trains this run."""


class Lost(Locked):
    """Another process took over the run that this process trained. This process must not write its result."""


@contextmanager
def locked(folder: Path, beat: float = BEAT, silence: float = SILENCE) -> Iterator[None]:
    """Hold the lock of a run's folder while the block runs.

    Args:
        beat: seconds between two updates of the lock's time.
        silence: seconds without an update after which a lock is void.

    Raises:
        Locked: another process holds the lock and updated it less than ``silence`` seconds ago by the clock of the
            shared disk. A process on this host must also still exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, mine = folder / LOCK_FILE, _myself()
    with FileLock(folder / GUARD_FILE):
        if other := holder(folder, silence):
            raise Locked(
                f"process {other['pid']} on {other['host']} has been training run {folder.name} since {other['since']}"
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
        if folder.is_dir():  # FileLock would create the folder again
            with FileLock(folder / GUARD_FILE):
                if _read(path) == mine:
                    path.unlink(missing_ok=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Prevent another process from taking over this process's lock while the block writes.

    Raises:
        Lost: another process took over the lock before.
        StorageError: the folder no longer exists.
    """
    check_there(folder)
    with FileLock(folder / GUARD_FILE):
        check_held(folder)
        yield


def check_held(folder: Path) -> None:
    """Raise Lost if this process no longer holds the lock of a run, or StorageError if the folder no longer exists."""
    lock = _read(folder / LOCK_FILE)
    if lock is not None and _is_mine(lock):
        return
    check_there(folder)
    other = f"process {lock['pid']} on {lock['host']}" if lock else "another process"
    raise Lost(f"{other} took over run {folder.name}: this process stopped and wrote no result")


def holder(folder: Path, silence: float = SILENCE) -> dict | None:
    """Return the contents of a run's lock (pid, host, since); None if no living process holds the lock."""
    path = folder / LOCK_FILE
    lock = _read(path)
    return lock if lock is not None and _holds(lock, path, silence) else None


def _myself() -> dict:
    now = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    born = _born(psutil.Process())  # a later process may have the same pid
    return {"host": socket.gethostname(), "pids": _pids(), "pid": os.getpid(), "born": born, "since": now}


def _born(process: psutil.Process) -> float:
    """Return when a process began, in seconds since boot: psutil's time of creation moves with the system clock."""
    return process.create_time() - psutil.boot_time()


def _wrote(process: psutil.Process, holder: dict) -> bool:
    """Whether the process is the one that wrote a lock. Locks of older versions have seconds since the epoch."""
    return any(abs(born - holder["born"]) < ROUNDING for born in (_born(process), process.create_time()))


def _pids() -> str | None:
    """Return the namespace of process ids, which distinguishes containers with the same host name."""
    return os.readlink(PIDS) if PIDS.is_symlink() else None


def _is_here(holder: dict) -> bool:
    return (holder["host"], holder.get("pids")) == (socket.gethostname(), _pids())


def _is_mine(holder: dict) -> bool:
    return _is_here(holder) and holder["pid"] == os.getpid() and _wrote(psutil.Process(), holder)


def _holds(holder: dict, path: Path, silence: float) -> bool:
    """Whether the process that wrote a lock still holds it."""
    if _is_here(holder):
        try:
            process = psutil.Process(holder["pid"])
            if not _wrote(process, holder) or process.status() == psutil.STATUS_ZOMBIE:  # ended, but not yet reaped
                return False
        except psutil.Error:
            return False
    try:
        return _now(path) - path.stat().st_mtime < silence
    except FileNotFoundError:
        return False


def _now(path: Path) -> float:
    """Return the time by the clock of the disk that holds the lock, or by this host's if the disk is read-only."""
    probe = path.with_name(f".clock.{token()}")
    try:
        probe.touch()
    except OSError:
        return time.time()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()


def _beat(path: Path, mine: dict, stop: threading.Event, beat: float) -> None:
    while not stop.wait(beat):
        try:
            if _read(path) not in (None, mine):  # taken over: the lock is another process's
                return
            os.utime(path)
        except OSError:  # the disk may be available again at the next update
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
