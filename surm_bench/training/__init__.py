"""The training loop: optimisers, evaluation, saving and restoring the state. Nothing here depends on experiments."""

import surm_bench.system.torchvision_stub  # noqa: F401
from surm_bench.adapters.hooks import Hooks
from surm_bench.training.accelerator import check_device, make_accelerator, use_device
from surm_bench.training.evaluation import evaluation_loader, forward, predict
from surm_bench.training.failures import Diverged
from surm_bench.training.history import History
from surm_bench.training.kalman import check_outputs
from surm_bench.training.loop import fit
from surm_bench.training.optimizers import parameter_groups, trainable
from surm_bench.training.state import Checkpoint
from surm_bench.training.stop import Interrupted

__all__ = [
    "Checkpoint",
    "Diverged",
    "History",
    "Hooks",
    "Interrupted",
    "check_device",
    "check_outputs",
    "evaluation_loader",
    "fit",
    "forward",
    "make_accelerator",
    "parameter_groups",
    "predict",
    "trainable",
    "use_device",
]
