"""What a kind of task is trained for and judged by. A new kind is a subclass, and a line in ``objective_for``."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache

import numpy as np
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForSequenceClassification

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError, unknown
from surm_bench.positive_class import METRIC, positive_class
from surm_bench.tasks.metrics.direction import GREATER_IS_BETTER


class Objective(ABC):
    """Loss, metrics and what the best of several evaluations is.

    Args:
        metric: a configuration of the evaluate module shipped here.
        primary_metric: the score that decides.
        positive: the number of the class that F1 is of; None for other metrics.
    """

    model_class: type  # of transformers: what a text backbone is built with

    def __init__(self, metric: str, primary_metric: str, positive: int | None = None) -> None:
        self.metric, self.primary_metric, self.positive = metric, primary_metric, positive

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss (a scalar) of logits (B, num_labels) and labels (B,), in fp32."""

    @abstractmethod
    def predictions(self, logits: np.ndarray) -> np.ndarray:
        """Logits (N, num_labels) -> what the metrics compare with labels, (N,)."""

    def metrics(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """The scores by name of logits (N, num_labels) against labels (N,)."""
        predictions = self.predictions(logits)
        return _metric(self.metric).compute(predictions=predictions, references=labels, positive=self.positive)

    @property
    def greater_is_better(self) -> bool:
        return GREATER_IS_BETTER[self.primary_metric]

    def best(self, evaluations: Sequence[dict], split: str) -> dict:
        """The first of the evaluations (surm_bench.training.History) with the best primary metric on a split."""
        pick = max if self.greater_is_better else min
        return pick(evaluations, key=lambda evaluation: evaluation["scores"][split][self.primary_metric])


class Classification(Objective):
    """Cross entropy; a prediction is the class of the largest logit."""

    model_class = AutoModelForSequenceClassification

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits.float(), labels)

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        return logits.argmax(-1)


class Regression(Objective):
    """Mean squared error; the one logit is the prediction."""

    model_class = AutoModelForSequenceClassification

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.mse_loss(logits.squeeze(-1).float(), labels.float())

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        return logits.squeeze(-1)


def objective_for(config: TaskConfig) -> Objective:
    """The objective of a task; one label means regression."""
    kind = Regression if config.num_labels == 1 else Classification
    return kind(config.metric, config.primary_metric, positive_class(vars(config)))


def check_metric(config: TaskConfig) -> None:
    """Refuse a metric that cannot judge this task, before anything is trained, by judging two made-up examples.

    Raises:
        UserError: no label, an unknown metric, one for classes on a regression or the reverse, F1 of one class among
            more than two, an unknown positive class, or another primary_metric than it has; the message lists the
            choices.
    """
    if config.num_labels < 1:
        raise UserError(
            f"task.num_labels={config.num_labels} is not possible: the number of classes, or 1 for a regression"
        )
    if (config.num_labels == 1) != (config.metric == "correlation"):
        raise UserError(
            f"task.metric={config.metric!r} does not fit task.num_labels={config.num_labels}: "
            "'correlation' is for regression (num_labels=1), all others are for classes"
        )
    if config.metric == METRIC and config.num_labels > 2:
        raise UserError(
            f"task.metric={METRIC} is F1 of one of two classes, {config.name} has {config.num_labels}: give "
            "task.metric=macro_f1_accuracy task.primary_metric=macro_f1, the mean over all classes"
        )
    try:
        scores = objective_for(config).metrics(np.zeros((2, config.num_labels)), np.arange(2))
    except KeyError as error:
        raise UserError(error.args[0]) from None
    if config.primary_metric not in scores:
        raise unknown("task.primary_metric", config.primary_metric, scores)


@cache
def _metric(name: str):
    from surm_bench.tasks.metrics.task_metrics import TaskMetrics  # evaluate is slow to import

    return TaskMetrics(name)
