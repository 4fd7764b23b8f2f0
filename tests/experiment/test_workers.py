"""Joblib's worker processes: what Ctrl-C and a killed worker leave."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from surm_bench.errors import UserError
from surm_bench.experiment.workers import in_workers


def train(folder: Path, name: str) -> None:
    """Wait until the process is asked to end, and then save a state."""
    (folder / f"{name} began").touch()
    try:
        time.sleep(120)
    except KeyboardInterrupt:
        (folder / f"{name} saved").touch()
        raise


def interrupt(folder: Path) -> None:
    """Send what a terminal sends to this process, once two runs have begun."""
    while len(list(folder.glob("* began"))) < 2:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_ends_runs_with_their_states_saved_and_begins_no_other(tmp_path):
    handler = signal.getsignal(signal.SIGINT)
    threading.Thread(target=interrupt, args=(tmp_path,), daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        in_workers(train, [(tmp_path, "a"), (tmp_path, "b"), (tmp_path, "c")], {"n_jobs": 2})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a began", "a saved", "b began", "b saved"]
    assert signal.getsignal(signal.SIGINT) == handler


def killed(number: int) -> str:
    if number:
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def test_a_worker_that_the_system_kills_is_one_line():
    with pytest.raises(UserError, match=r"a process was killed, perhaps because memory ran out: .*n_jobs=N"):
        in_workers(killed, [(0,), (1,)], {"n_jobs": 2})
