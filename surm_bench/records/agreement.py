"""Whether two runs of one id came to the same result."""

import math
from collections.abc import Sequence
from statistics import stdev

CORRELATIONS = ("matthews_correlation", "spearmanr", "pearson")
VERSIONS = ("python", "torch", "transformers", "peft", "timm", "threads", "processes", "device_kind")


def reported_split(record: dict) -> str:
    """The split that a record's score is of: the reported one, or the one held out where a run scored nothing else."""
    return "reported" if "reported" in record["scores"] else "validation"


def kept(record: dict) -> str:
    """The epoch that a run's score, adapter and predictions are of: "last", or "best" with trainer.keep_best."""
    return record.get("kept", "last")  # absent from earlier records


def score(record: dict) -> float | None:
    """The primary metric in the epoch that is kept; None for a run that diverged."""
    if record["status"] != "success":
        return None
    return record["scores"][reported_split(record)][kept(record)][record["primary_metric"]]


def same_machine(first: dict, second: dict) -> bool:
    """Whether equal bits are expected of two records: the same kind of device, threads, versions and code.

    Of a run that was interrupted, in all its segments.
    """
    if first["code"] != second["code"] or _machines(first) != _machines(second):
        return False
    return all(first["environment"].get(key) == second["environment"].get(key) for key in VERSIONS)


def tolerance(record: dict, of_seeds: Sequence[float] = ()) -> float:
    """How far another machine may be off: two standard deviations over seeds, or two standard errors of the score.

    Args:
        of_seeds: the scores of the same configuration with other seeds, this one's included.
    """
    spread = stdev(of_seeds) if len(of_seeds) > 1 else 0.0
    return max(2 * spread, 2 * standard_error(record))


def standard_error(record: dict) -> float:
    """Of the score over its examples: binomial, or that of a correlation (1 − ρ²)/√(n − 1); MCC is one."""
    split = reported_split(record)
    value, n = record["scores"][split][kept(record)][record["primary_metric"]], record["examples"][split]
    if record["primary_metric"] in CORRELATIONS:
        return (1 - value**2) / math.sqrt(max(n - 1, 1))
    return math.sqrt(value * (1 - value) / n)


def agree(first: dict, second: dict, of_seeds: Sequence[float] = ()) -> bool:
    """Whether two records of one id have one result: equal scores where equal bits are expected, else near ones."""
    if first["status"] != second["status"]:
        return False
    one, other = score(first), score(second)
    if one is None or other is None or same_machine(first, second):
        return one == other
    return abs(one - other) <= tolerance(first, of_seeds)


def _machines(record: dict) -> set[tuple]:
    return {(segment["device_kind"], segment["threads"]) for segment in record["segments"]}
