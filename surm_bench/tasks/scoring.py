"""The loss a task is trained with, and the metrics it is judged by."""

from functools import cache
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.nn import functional

from surm_bench.config import TaskConfig

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


@cache
def _metric(name: str):
    import evaluate  # slow to import, and of no use before the first evaluation

    return evaluate.load(str(MODULE), name, module_type="metric", keep_in_memory=True)
