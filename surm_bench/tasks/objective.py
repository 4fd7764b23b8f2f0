"""Training objective and metrics of each kind of task. A new kind is a subclass and a line in ``objective_for``."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache

import numpy as np
from torch import Tensor
from torch.nn import functional

from surm_bench.config import TaskConfig
from surm_bench.config.positive_class import OF_CLASS, positive_class
from surm_bench.errors import UserError, unknown
from surm_bench.metrics import METRICS, PAIRS, metrics_of


class Objective(ABC):
    """The loss and the metrics of a task, and the rule for the best of several evaluations.

    Args:
        metric: a metric or a pair of metrics of surm_bench.metrics.
        primary_metric: the score by which evaluations are compared.
        positive: the class number of which F1 is computed; None for other metrics.
    """

    def __init__(self, metric: str, primary_metric: str, positive: int | None = None) -> None:
        self.metric, self.primary_metric, self.positive = metric, primary_metric, positive

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss (a scalar) of logits (B, num_labels) and labels (B,), in fp32."""

    @abstractmethod
    def predictions(self, logits: np.ndarray) -> np.ndarray:
        """Turn logits (N, num_labels) into the predictions (N,) that metrics compare with labels."""

    def metrics(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Return the scores, by metric name, of logits (N, num_labels) against labels (N,)."""
        predictions = self.predictions(logits)
        return _metric(self.metric).compute(predictions=predictions, references=labels, positive=self.positive)

    @property
    def greater_is_better(self) -> bool:
        return METRICS[self.primary_metric].greater_is_better

    def best(self, evaluations: Sequence[dict], split: str) -> dict:
        """Return the first evaluation (surm_bench.training.History) with the best primary metric on a split."""
        pick = max if self.greater_is_better else min
        return pick(evaluations, key=lambda evaluation: evaluation["scores"][split][self.primary_metric])


class Classification(Objective):
    """Classification with cross entropy; the prediction is the class with the largest logit."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits.float(), labels)

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        return logits.argmax(-1)


class Regression(Objective):
    """Regression with mean squared error; the prediction is the single logit."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.mse_loss(logits.squeeze(-1).float(), labels.float())

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        return logits.squeeze(-1)


def objective_for(config: TaskConfig) -> Objective:
    """Return the objective of a task; num_labels=1 means regression."""
    kind = Regression if config.is_regression else Classification
    return kind(config.metric, config.primary_metric, positive_class(config))


def check_metric(config: TaskConfig) -> None:
    """Refuse a metric that does not fit the task, before training.

    Raises:
        UserError: num_labels is below 1, the metric is unknown, a metric for classes is used for regression or the
            reverse, F1 of one class is used for more than two classes, the positive class is unknown, or the metric
            has no score named primary_metric; the message lists the choices.
    """
    if config.num_labels < 1:
        raise UserError(
            f"task.num_labels={config.num_labels} is not possible: give the number of classes, or 1 for a regression"
        )
    if config.is_regression != _is_for_regression(config.metric):
        of_regression = ", ".join(filter(_is_for_regression, [*PAIRS, *METRICS]))
        raise UserError(
            f"task.metric={config.metric!r} does not fit task.num_labels={config.num_labels}: "
            f"for regression (num_labels=1) there are {of_regression}; all other metrics are for classes"
        )
    if config.metric in OF_CLASS and config.num_labels > 2:
        raise UserError(
            f"task.metric={config.metric} needs two classes, but {config.name} has {config.num_labels}: give "
            "task.metric=macro_f1_accuracy task.primary_metric=macro_f1, the mean over all classes"
        )
    objective_for(config)  # refuses a positive class that is unknown
    if config.primary_metric not in (names := metrics_of(config.metric)):
        raise unknown("task.primary_metric", config.primary_metric, names)


def _is_for_regression(metric: str) -> bool:
    return METRICS[metrics_of(metric)[0]].regression


@cache
def _metric(name: str):
    from surm_bench.tasks.task_metrics import TaskMetrics  # evaluate is slow to import

    return TaskMetrics(name)
