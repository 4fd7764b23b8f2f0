"""Mirror a run to a W&B server that answers, is absent, hangs from the start, or dies during the run.

A run writes its record before it waits for W&B. The cost of W&B is therefore the time from the record to the end of the
process, compared with the same run without a tracker.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from reliability.processes import DIGITS, ENVIRONMENT, QUIET, ROOT, begin, end, last_line, outcome, table

RUN = [*DIGITS, "adapter=circulant", "trainer.max_steps=200", *QUIET]
SETTINGS = {
    "WANDB_API_KEY": "a" * 40,
    "WANDB__TRANSACTION_LOG_FLUSH_INTERVAL": "0.2",
    "WANDB__FILE_STREAM_TRANSMIT_INTERVAL": "0.2",
}


def report() -> bool:
    """Print the cost of each server; return whether every run had the result of the run without a tracker."""
    sys.path.insert(0, str(ROOT / "tests"))
    wanted = _timed([*RUN, "tracking=none"], "")[2]

    def row(name: str, server) -> list:
        with server() as url:
            seconds, ending, found, lines, sent = _timed([*RUN, f"tracking={'wandb' if url else 'none'}"], url)
        return [name, f"{seconds:.1f}", f"{ending:.1f}", "equal" if found == wanted else found, lines, sent]

    servers = {
        "no tracker": partial(nullcontext, ""),
        "answers": _answers,
        "is absent": _absent,
        "hangs": _hangs,
        "dies": _dies,
    }
    head = ["server", "process, s", "of it after the record, s", "result", "lines", "sent later by wandb sync"]
    rows = table(head, (row(name, server) for name, server in servers.items()))
    return all(row[3] == "equal" and row[5] != "no" for row in rows)


def _timed(arguments: list[str], url: str) -> tuple[float, float, object, int, str]:
    """Make a run that is mirrored to the server at url.

    Returns:
        The seconds of the process, the seconds of these after the record, the outcome, the number of lines that say
        what W&B lacks, and whether this could be sent later.
    """
    with tempfile.TemporaryDirectory() as folder:
        places = {"NETRC": f"{folder}/netrc", "WANDB_CONFIG_DIR": f"{folder}/settings"}
        own = SETTINGS | places | {"WANDB_BASE_URL": url}
        clean = {name: "" for name in os.environ if name.startswith("WANDB_")}
        began = time.perf_counter()
        code, output, _ = end(begin(*arguments, f"results_dir={folder}", environment=clean | own))
        seconds, now = time.perf_counter() - began, time.time()
        ending = max((now - file.stat().st_mtime for file in Path(folder).glob("runs/*/record.json")), default=0.0)
        lines = [line for line in output.splitlines() if line.startswith("surm-bench: W&B")]
        found = outcome(Path(folder)) if code == 0 else last_line(output)
        return seconds, ending, found, len(lines), _send_later(Path(folder), own) if lines else "not needed"


def _send_later(folder: Path, own: dict[str, str]) -> str:
    """Send the offline run of a results folder to a server that answers; return "yes" if everything arrived."""
    from support.wandb_server import Server

    (file,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    with Server() as server:
        command = [sys.executable, "-m", "wandb", "sync", str(file.parent)]
        subprocess.run(
            command, env=ENVIRONMENT | own | {"WANDB_BASE_URL": server.url}, capture_output=True, timeout=120
        )
        server.shutdown()
        return "yes" if server.history and server.summary else "no"


@contextmanager
def _answers(answers: int = 10_000) -> Iterator[str]:
    from support.wandb_server import Server

    with Server(answers) as server:
        yield server.url
        server.shutdown()


@contextmanager
def _dies() -> Iterator[str]:
    with _answers(3) as url:
        yield url


@contextmanager
def _absent(listening: bool = False) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if listening:
            listener.listen(64)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def _hangs() -> Iterator[str]:
    with _absent(listening=True) as url:
        yield url
