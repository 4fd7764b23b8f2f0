"""A W&B run that can neither fail nor delay the run that it mirrors.

wandb only writes a local file (its offline mode), and a separate process sends the file while it grows. Measured with
wandb 0.31 in its online mode and a server that does not answer: the start takes 15 s in spite of init_timeout=5, and
the exit of the process another 14 s.
"""

import os
import queue
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from surm_bench.tracking.points import Points
from surm_bench.tracking.tracker import Tracker
from surm_bench.tracking.upload import Upload

SECONDS = 15  # how long a run waits for W&B in total
ERROR_SECONDS = 3  # the most of SECONDS that is left for the end of a failed or interrupted run
STEP = "step"  # optimiser steps: the x axis of curves
RECORD = "record"  # the path of the record's file
CURVES = ("train/*", "eval/*", "score/*")
FORGETTING: list[threading.Thread] = []  # the next run waits for these threads to end, within its own seconds


class WandbTracker(Tracker):
    """A tracker whose calls run in a thread, the only one that talks to wandb; only start and end wait for the thread.

    Args:
        seconds: how long to wait for W&B in total; None is SECONDS.
        arguments: the arguments of wandb.init, with id and dir.
    """

    def __init__(self, seconds: float | None = None, **arguments: Any) -> None:
        # wandb's error reports go to the same server; if it hangs, they delay the exit of the process by 10 s
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb  # noqa: F401  # here, where its seconds are not W&B's

        self._arguments = arguments
        self._points = Points(Path(arguments["dir"]) / "wandb" / f"{arguments['id']}.jsonl")
        self._run: Any = None
        self._upload: Upload | None = None
        self._error: Exception | None = None
        self._seconds_left = SECONDS if seconds is None else seconds
        self._calls: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="surm-bench-wandb", daemon=True).start()
        self._wait_for(self._start)

    def log(self, values: dict[str, Any], step: int) -> None:
        self._calls.put(lambda: self._send(self._points.add(values, step)))

    def summary(self, values: dict[str, Any]) -> None:
        self._calls.put(lambda: self._send(self._points.earlier()))  # if this process had nothing left to train
        self._calls.put(lambda: self._run.summary.update(values))

    def link(self, record: Path) -> None:
        """Add the record to the files of the run, and its path to the summary, a column of the table of runs."""

        def add() -> None:
            copy = shutil.copy(record, self._run.dir)  # of a file elsewhere wandb makes a link and prints a warning
            self._run.save(copy, base_path=self._run.dir, policy="now")
            self._run.summary.update({RECORD: str(record)})

        self._calls.put(add)

    def files(self, name: str, paths: Sequence[Path]) -> None:
        """Add files as one artifact of results; images are also shown on the page of the run."""

        def add() -> None:
            import wandb

            artifact = wandb.Artifact(name, type="results")
            for path in paths:
                artifact.add_file(str(path))
            self._run.log_artifact(artifact)
            self._run.log({path.stem: wandb.Image(str(path)) for path in paths if path.suffix == ".png"})

        self._calls.put(add)

    def close(self, exit_code: int) -> None:
        """Finish the run and its upload; print one line if W&B did not receive everything."""
        if exit_code != 0:
            self._seconds_left = min(self._seconds_left, ERROR_SECONDS)
        finished = self._wait_for(lambda: self._run.finish(exit_code=exit_code))
        self._calls.put(None)
        if not finished:
            _kill_service()
        if self._upload is None or not self._upload.end(self._seconds_left):
            print(f"surm-bench: {self._missing()}", file=sys.stderr)

    def _send(self, points: list[tuple[int, dict[str, Any]]]) -> None:
        for step, values in points:
            self._run.log(values | {STEP: step}, step=step)

    def _work(self) -> None:
        for call in iter(self._calls.get, None):
            try:
                call()
            except Exception as error:
                self._error = self._error or error  # the first error causes the others

    def _wait_for(self, call: Callable[[], Any]) -> bool:
        """Run the call in the thread; return whether it finished within the remaining time."""
        began, done = time.monotonic(), threading.Event()
        self._calls.put(call)
        self._calls.put(done.set)
        in_time = done.wait(self._seconds_left)
        self._seconds_left = max(0, self._seconds_left - (time.monotonic() - began))
        return in_time

    def _start(self) -> None:
        import wandb

        for thread in FORGETTING:
            thread.join()
        Path(self._arguments["dir"]).mkdir(parents=True, exist_ok=True)  # otherwise wandb uses a temporary folder
        settings = {"console": "off", "silent": True}  # so that printing does not wait for wandb
        self._run = wandb.init(**self._arguments, mode="offline", settings=settings)
        self._run.define_metric(STEP, hidden=True)
        for names in CURVES:
            self._run.define_metric(names, step_metric=STEP)
        if online():
            self._upload = Upload(Path(self._run.settings.sync_file))

    def _missing(self) -> str:
        name, error = f"run {self._arguments['id']}", " ".join(str(self._error or "").split())
        if self._run is None:
            return f"W&B received nothing of {name}: {error or 'it did not start in time'}"
        cause = f" ({error})" if error else ""
        return f"W&B did not receive all of {name}{cause}; to send it: wandb sync {self._run.settings.sync_dir}"


def online() -> bool:
    """Whether W&B may be contacted: a key exists, and neither the environment nor "wandb offline" forbids it."""
    import wandb

    return wandb.setup().settings.mode == "online"


def _kill_service() -> None:
    """End wandb's service and make wandb forget it: otherwise the process's exit waits forever for a stuck service.

    The next run of this process gets a new service.
    """
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process().children():
            if child.name() == "wandb-core":
                child.kill()
    FORGETTING.append(threading.Thread(target=_forget_service, daemon=True))
    FORGETTING[-1].start()


def _forget_service() -> None:
    import wandb

    with suppress(Exception, SystemExit):  # wandb forgets the service first, then fails to contact it
        wandb.teardown()
