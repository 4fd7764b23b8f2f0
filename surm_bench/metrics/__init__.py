"""The metrics of the tasks: how each is computed, whether greater is better, and how sure a score is. Without torch."""

from surm_bench.metrics.registry import METRICS, Metric, metric_function

__all__ = ["METRICS", "Metric", "metric_function"]
