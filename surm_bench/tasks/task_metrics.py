"""The metrics of a task as an `evaluate` module that needs no hub.

A configuration is a value of task.metric: a metric of surm_bench.metrics.METRICS, or a pair of metrics. scikit-learn or
scipy compute the metrics of RECORDED, so that scores equal those of the committed records to the last bit. The function
of its entry computes every other metric. A correlation with constant predictions is undefined and counts as 0.
"""

import math

import evaluate
import numpy as np
from datasets import Features, Value
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from surm_bench.errors import UserError
from surm_bench.metrics import METRICS, metric_function, metrics_of


def _f1(references, predictions, positive):
    return f1_score(references, predictions, pos_label=positive, zero_division=0.0)


def _macro_f1(references, predictions, _):
    return f1_score(references, predictions, average="macro", zero_division=0.0)


def _pearson(references, predictions, _):
    return 0.0 if _constant(references, predictions) else pearsonr(references, predictions).statistic


def _spearman(references, predictions, _):
    return 0.0 if _constant(references, predictions) else spearmanr(references, predictions).statistic


def _constant(references, predictions):
    return np.ptp(references) == 0 or np.ptp(predictions) == 0


RECORDED = {  # from references, predictions and the positive class to the score
    "accuracy": lambda references, predictions, _: accuracy_score(references, predictions),
    "f1": _f1,
    "macro_f1": _macro_f1,
    "matthews_correlation": lambda references, predictions, _: matthews_corrcoef(references, predictions),
    "pearson": _pearson,
    "spearmanr": _spearman,
}


class TaskMetrics(evaluate.Metric):
    """The metrics of a value of task.metric. Predictions stay in memory; no file is written."""

    def __init__(self, config_name):
        super().__init__(config_name, keep_in_memory=True)

    def _build_data_dir(self):
        return ""  # otherwise evaluate creates an unused folder in HOME

    def _info(self):
        regression = METRICS[metrics_of(self.config_name)[0]].regression
        number = Value("float64" if regression else "int64")
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description="predictions and references, one number each",
            features=Features({"predictions": number, "references": number}),
        )

    def _compute(self, predictions, references, positive):
        numbers = np.asarray(references), np.asarray(predictions)
        return {name: _score(name, *numbers, positive) for name in metrics_of(self.config_name)}


def _score(name, references, predictions, positive):
    if name in RECORDED:
        return float(RECORDED[name](references, predictions, positive))
    score = float(metric_function(name, positive)(references, predictions))
    if not math.isfinite(score):
        raise UserError(
            f"metric {name} is {score} for {len(predictions)} examples: let its function return a finite number, "
            "such as 0 where the metric is not defined"
        )
    return score
