"""GLUE's metrics as an `evaluate` module that needs no hub: scikit-learn and scipy, and GLUE's names of results.

Configurations: matthews_correlation (CoLA), f1_accuracy (MRPC, QQP), correlation (STS-B), accuracy (all others), and
macro_f1_accuracy, whose F1 is the mean over the classes that are among the labels or the predictions.
A correlation with constant predictions is undefined and counts as 0.
"""

import evaluate
import numpy as np
from datasets import Features, Value
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef


def _matthews(references, predictions, _):
    return {"matthews_correlation": matthews_corrcoef(references, predictions)}


def _f1_accuracy(references, predictions, positive):
    f1 = f1_score(references, predictions, pos_label=positive, zero_division=0.0)
    return {"f1": f1, **_accuracy(references, predictions, positive)}


def _macro_f1_accuracy(references, predictions, positive):
    f1 = f1_score(references, predictions, average="macro", zero_division=0.0)
    return {"macro_f1": f1, **_accuracy(references, predictions, positive)}


def _correlation(references, predictions, _):
    if np.ptp(references) == 0 or np.ptp(predictions) == 0:
        return {"spearmanr": 0.0, "pearson": 0.0}
    return {
        "spearmanr": spearmanr(references, predictions).statistic,
        "pearson": pearsonr(references, predictions).statistic,
    }


def _accuracy(references, predictions, _):
    return {"accuracy": accuracy_score(references, predictions)}


METRICS = {
    "matthews_correlation": _matthews,
    "f1_accuracy": _f1_accuracy,
    "macro_f1_accuracy": _macro_f1_accuracy,
    "correlation": _correlation,
    "accuracy": _accuracy,
}


class TaskMetrics(evaluate.Metric):
    """One metric of METRICS, chosen by the configuration's name. Predictions stay in memory; no file is written."""

    def __init__(self, config_name):
        super().__init__(config_name, keep_in_memory=True)

    def _build_data_dir(self):
        return ""  # otherwise evaluate creates an unused folder in HOME

    def _info(self):
        if self.config_name not in METRICS:
            raise KeyError(f"unknown metric {self.config_name!r}: choose from {', '.join(METRICS)}")
        number = Value("float64" if self.config_name == "correlation" else "int64")
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description="predictions and references, one number each",
            features=Features({"predictions": number, "references": number}),
        )

    def _compute(self, predictions, references, positive):
        results = METRICS[self.config_name](np.asarray(references), np.asarray(predictions), positive)
        return {name: float(value) for name, value in results.items()}
