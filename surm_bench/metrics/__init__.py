"""The metrics of the tasks: how each is computed, whether greater is better, and how sure a score is. Without torch."""

from surm_bench.metrics.registry import METRICS, Metric, metric_function
from surm_bench.metrics.samples import sample_scores

__all__ = ["METRICS", "Metric", "metric_function", "sample_scores"]
