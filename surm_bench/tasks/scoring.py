"""The loss a task is trained with, and the metrics it is judged by."""

from functools import cache
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.nn import functional

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError, unknown

MODULE = Path(__file__).parent / "metrics" / "task_metrics.py"


def loss(config: TaskConfig, logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of logits (B, num_labels) and labels (B,), or mean squared error when num_labels is 1."""
    if config.num_labels == 1:
        return functional.mse_loss(logits.squeeze(-1).float(), labels.float())
    return functional.cross_entropy(logits.float(), labels)


def compute_metrics(config: TaskConfig, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The task's metrics of logits (N, num_labels) against labels (N,), through the evaluate module shipped here."""
    predictions = logits.squeeze(-1) if config.num_labels == 1 else logits.argmax(-1)
    return _metric(config.metric).compute(predictions=predictions, references=labels)


def check_metric(config: TaskConfig) -> None:
    """Refuse a metric that cannot judge this task, before anything is trained, by judging two made-up examples.

    Raises:
        UserError: an unknown metric, one for classes on a regression or the reverse, or another primary_metric than
            it has; the message lists the choices.
    """
    if (config.num_labels == 1) != (config.metric == "correlation"):
        raise UserError(
            f"task.metric={config.metric!r} does not fit task.num_labels={config.num_labels}: "
            "'correlation' is for regression (num_labels=1), all others are for classes"
        )
    try:
        scores = compute_metrics(config, np.zeros((2, config.num_labels)), np.zeros(2, dtype=int))
    except KeyError as error:
        raise UserError(error.args[0]) from None
    if config.primary_metric not in scores:
        raise unknown("task.primary_metric", config.primary_metric, scores)


@cache
def _metric(name: str):
    import evaluate  # slow to import, and of no use before the first evaluation

    return evaluate.load(str(MODULE), name, module_type="metric", keep_in_memory=True)
