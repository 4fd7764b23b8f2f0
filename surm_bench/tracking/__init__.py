"""Mirror a run to Weights & Biases, to TensorBoard, or nowhere. The records remain authoritative."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from surm_bench.config import Config, TrackingConfig
from surm_bench.errors import UserError
from surm_bench.tracking.contents import experiment_of, group_name, job_type, run_name, summary_of, tags, with_score
from surm_bench.tracking.tensorboard_tracker import TensorBoardTracker
from surm_bench.tracking.tracker import Tracker
from surm_bench.tracking.wandb_tracker import WandbTracker

__all__ = ["Tracker", "check_tracking", "summary_of", "track", "with_score"]


def check_tracking(tracking: TrackingConfig) -> None:
    """Refuse unavailable tracking before training starts.

    Raises:
        UserError: the package of this kind of tracking is not installed.
    """
    if tracking.kind == "none":
        return
    try:
        import_module(tracking.kind)
    except ImportError as error:
        extra = f"surm-bench[{tracking.kind}]"
        raise UserError(f"tracking={tracking.kind} needs: pip install '{extra}', or choose tracking=none") from error


@contextmanager
def track(config: Config, run_id: str, group_id: str) -> Iterator[Tracker]:
    """Yield the tracker of ``config.tracking`` and close it when the block ends.

    No tracker fails a run. Start and end together wait at most 15 s for W&B; data that W&B did not receive stays in
    ``results_dir/wandb``, and one line says how to send it. Errors pass through the block unchanged.

    Args:
        config: the configuration of the run, after check_tracking.
        run_id: the id of the run.
        group_id: the id shared by the seeds of the configuration.
    """
    tracker = _tracker(config, run_id, group_id)
    exit_code = 1
    try:
        yield tracker
        exit_code = 0
    finally:  # an unclosed tracker would merge the jobs of a multirun into one
        tracker.close(exit_code)


def _tracker(config: Config, run_id: str, group_id: str) -> Tracker:
    kind = config.tracking.kind
    if kind == "tensorboard":
        return TensorBoardTracker(config, run_id)
    if kind == "wandb" and os.environ.get("WANDB_MODE") != "disabled":
        return WandbTracker(
            project=config.tracking.project,
            entity=config.tracking.entity,
            id=run_id,
            group=group_name(config, group_id),
            job_type=job_type(config),
            name=run_name(config),
            tags=tags(config),
            config=config.document() | {"experiment": experiment_of(config)},
            dir=config.results_dir,
        )
    return Tracker()
