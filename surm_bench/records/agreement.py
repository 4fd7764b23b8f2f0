"""Decide whether two runs with the same id have the same result."""

from collections.abc import Sequence
from statistics import stdev

from surm_bench.metrics import METRICS

VERSIONS = ("python", "torch", "transformers", "peft", "timm", "threads", "processes", "device_kind")


def reported_split(record: dict) -> str:
    """Return the split of a record's score: the reported split, or the held-out split if a run scored only this."""
    return "reported" if "reported" in record["scores"] else "validation"


def kept(record: dict) -> str:
    """Return the epoch of a run's score, adapter and predictions: "last", or "best" with trainer.keep_best."""
    return record.get("kept", "last")  # earlier records lack this key


def score(record: dict) -> float | None:
    """Return the primary metric in the kept epoch; None for a run without success, for example a diverged run."""
    if record["status"] != "success":
        return None
    return record["scores"][reported_split(record)][kept(record)][record["primary_metric"]]


def same_machine(first: dict, second: dict) -> bool:
    """Whether two records should be equal bit for bit: they have equal kinds of device, threads, versions and code.

    For an interrupted run, devices and threads of all segments are compared.
    """
    if first["code"] != second["code"] or _machines(first) != _machines(second):
        return False
    return all(first["environment"].get(key) == second["environment"].get(key) for key in VERSIONS)


def tolerance(record: dict, of_seeds: Sequence[float] = ()) -> float:
    """Return the largest allowed difference of scores between machines.

    This is the larger of two standard deviations over seeds and two standard errors of the score.

    Args:
        of_seeds: the scores of this configuration with several seeds, including the seed of the record.
    """
    spread = stdev(of_seeds) if len(of_seeds) > 1 else 0.0
    return max(2 * spread, 2 * standard_error(record))


def standard_error(record: dict) -> float:
    """Return the standard error of the score over examples (see surm_bench.metrics)."""
    split = reported_split(record)
    value, n = record["scores"][split][kept(record)][record["primary_metric"]], record["examples"][split]
    return METRICS[record["primary_metric"]].standard_error(value, n)


def agree(first: dict, second: dict, of_seeds: Sequence[float] = ()) -> bool:
    """Whether two records of one id agree: equal scores on the same machine, otherwise scores within the tolerance."""
    if first["status"] != second["status"]:
        return False
    one, other = score(first), score(second)
    if one is None or other is None or same_machine(first, second):
        return one == other
    return abs(one - other) <= tolerance(first, of_seeds)


def _machines(record: dict) -> set[tuple]:
    return {(segment["device_kind"], segment["threads"]) for segment in record["segments"]}
