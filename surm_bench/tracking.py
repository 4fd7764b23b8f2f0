"""Mirror a run to Weights & Biases, or to nothing. Records are the truth."""

import netrc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from surm_bench.errors import UserError, unknown

KINDS = ("none", "wandb")


class Tracker:
    """Where metrics go; this one drops them."""

    def log(self, values: dict[str, Any], step: int) -> None:
        """Add one point to the curves; step counts optimiser steps."""

    def summary(self, values: dict[str, Any]) -> None:
        """Set values that describe the whole run."""


class WandbTracker(Tracker):
    """Sends metrics to a W&B run."""

    def __init__(self, run: Any) -> None:
        self.run = run

    def log(self, values: dict[str, Any], step: int) -> None:
        self.run.log(values, step=step)

    def summary(self, values: dict[str, Any]) -> None:
        self.run.summary.update(values)


@contextmanager
def track(config: dict, run_id: str, group_id: str, tags: Sequence[str]) -> Iterator[Tracker]:
    """The tracker that ``config["tracking"]`` asks for, finished (exit code 1 on an error) when the block ends.

    Args:
        config: the resolved config of the run, as plain dicts; W&B's files go to ``results_dir/wandb``.
        tags: model, task and adapter.

    Raises:
        UserError: an unknown kind, wandb is not installed, or W&B does not let us in.
    """
    kind = config["tracking"]["kind"]
    if kind not in KINDS:
        raise unknown("tracking kind", kind, KINDS)
    if kind == "none":
        yield Tracker()
        return

    run = _start(config, run_id, group_id, tags)
    exit_code = 1
    try:
        yield WandbTracker(run)
        exit_code = 0
    finally:  # without finish() the jobs of a multirun merge into one
        run.finish(exit_code=exit_code)


def _start(config: dict, run_id: str, group_id: str, tags: Sequence[str]) -> Any:
    try:
        import wandb
    except ImportError as error:
        raise UserError("tracking=wandb needs the package wandb: install it, or choose tracking=none") from error
    folder = Path(config["results_dir"])
    folder.mkdir(parents=True, exist_ok=True)  # wandb falls back to a temporary folder when it is missing
    try:
        return wandb.init(
            project=config["tracking"]["project"],
            entity=config["tracking"]["entity"],
            id=run_id,
            group=group_id,
            name="-".join([*tags, f"seed{config['seed']}"]),
            tags=list(tags),
            config=config,
            dir=str(folder),
            mode=None if "WANDB_MODE" in os.environ or _has_key() else "offline",
        )
    except wandb.Error as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"W&B did not start: {reason} (WANDB_MODE=offline or tracking=none do without it)") from error


def _has_key() -> bool:
    """Whether wandb would find a key where it looks: the environment, then netrc."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    path = os.environ.get("NETRC") or Path("~/.netrc").expanduser()
    try:
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
