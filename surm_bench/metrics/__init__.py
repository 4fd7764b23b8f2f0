"""The metrics of the tasks: how each is computed, its direction and unit, and its standard error. Without torch."""

from surm_bench.metrics.registry import METRICS, PAIRS, Metric, metric_function, metric_shown_as, metrics_of
from surm_bench.metrics.samples import sample_scores

__all__ = ["METRICS", "PAIRS", "Metric", "metric_function", "metric_shown_as", "metrics_of", "sample_scores"]
