"""Decide whether two runs with the same id have the same result."""

from collections.abc import Sequence
from statistics import stdev

from surm_bench.metrics import METRICS
from surm_bench.records.record import Record

VERSIONS = ("python", "torch", "transformers", "peft", "timm", "threads", "processes", "device_kind")


def same_machine(first: Record, second: Record) -> bool:
    """Whether two records should be equal bit for bit: they have equal kinds of device, threads, versions and code.

    For an interrupted run, devices and threads of all segments are compared.
    """
    if first.code != second.code or _machines(first) != _machines(second):
        return False
    return all(getattr(first.environment, key) == getattr(second.environment, key) for key in VERSIONS)


def tolerance(record: Record, of_seeds: Sequence[float] = ()) -> float:
    """Return the largest allowed difference of scores between machines.

    This is the larger of two standard deviations over seeds and two standard errors of the score. An unknown standard
    error counts as 0.

    Args:
        of_seeds: the scores of this configuration with several seeds, including the seed of the record.
    """
    spread = stdev(of_seeds) if len(of_seeds) > 1 else 0.0
    return max(2 * spread, 2 * (standard_error(record) or 0.0))


def standard_error(record: Record) -> float | None:
    """Return the standard error of the score over examples.

    None if the metric does not determine it or is unknown here, or if the run has no score or no number of examples.
    """
    metric, value, n = METRICS.get(record.primary_metric), record.score, record.examples.get(record.split)
    if metric is None or metric.standard_error is None or value is None or n is None:
        return None
    return metric.standard_error(value, n)


def agree(first: Record, second: Record, of_seeds: Sequence[float] = ()) -> bool:
    """Whether two records of one id agree: equal scores on the same machine, otherwise scores within the tolerance."""
    if first.status != second.status:
        return False
    one, other = first.score, second.score
    if one is None or other is None or same_machine(first, second):
        return one == other
    return abs(one - other) <= tolerance(first, of_seeds)


def _machines(record: Record) -> set[tuple]:
    return {(segment["device_kind"], segment["threads"]) for segment in record.segments}
