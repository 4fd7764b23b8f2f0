"""Mirror a run to Weights & Biases, or to nothing. Records are the truth."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from surm_bench.errors import UserError, unknown
from surm_bench.tracking.tracker import Tracker
from surm_bench.tracking.wandb_tracker import WandbTracker

__all__ = ["KINDS", "Tracker", "track"]

KINDS = ("none", "wandb")


@contextmanager
def track(config: dict, run_id: str, group_id: str, tags: Sequence[str]) -> Iterator[Tracker]:
    """The tracker of ``config["tracking"]``, closed when the block ends.

    W&B never fails a run, and start and end together wait at most 15 s for it. What it did not get lies in
    ``results_dir/wandb``, and one line says how to send it. Errors pass through the block unchanged.

    Args:
        config: the resolved config of the run, as plain dicts.
        tags: model, task and adapter.

    Raises:
        UserError: an unknown kind, or wandb is not installed.
    """
    kind = config["tracking"]["kind"]
    if kind not in KINDS:
        raise unknown("tracking kind", kind, KINDS)
    if kind == "none" or os.environ.get("WANDB_MODE") == "disabled":
        yield Tracker()
        return

    try:
        import wandb  # noqa: F401
    except ImportError as error:
        raise UserError("tracking=wandb needs: pip install 'surm-bench[wandb]', or choose tracking=none") from error
    tracker = WandbTracker(
        project=config["tracking"]["project"],
        entity=config["tracking"]["entity"],
        id=run_id,
        group=group_id,
        name="-".join([*tags, f"seed{config['seed']}"]),
        tags=list(tags),
        config=config,
        dir=config["results_dir"],
    )
    exit_code = 1
    try:
        yield tracker
        exit_code = 0
    finally:  # without it the jobs of a multirun merge into one
        tracker.close(exit_code)
