"""Differences of every method to LoRA, column by column, paired by seed."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import product

from surm_bench.errors import UserError
from surm_bench.experiment.pairing import Predictions, gains
from surm_bench.records import Record
from surm_bench.report.frames import TaskColumn, columns_of
from surm_bench.report.page.data import LEVEL, interval_part
from surm_bench.statistics import paired_difference

REFERENCE = "lora"  # the adapter with which all others are compared, at every rank that was run
RESAMPLES = 400  # resamples of the test examples: the standard error is then known within about 4 %


def differences_to_lora(
    records: Sequence[Record], columns: Sequence[TaskColumn], predictions: Predictions, apart: Collection[str] = ()
) -> list[dict]:
    """Return the differences to LoRA, a row for each column, method and LoRA label.

    A row holds column, method, reference, mean, low, high (the gain over LoRA: method minus LoRA, or LoRA minus method
    for a metric of which a lower score is better), n (pairs), n_missing and examples
    (whether test examples were resampled). Test examples are resampled if all predictions are available. Runs that were
    scored on different rows cannot be paired, and give no row.

    Args:
        records: the records of the reported runs.
        apart: labels to leave out, because their score is from another epoch.
    """
    done: dict[tuple, dict[int, Record]] = {}  # (column's place, label) -> seed -> record
    place = {column.key: i for i, column in enumerate(columns)}
    references = []
    for record in (record for record in records if record.is_done):
        config = record.config
        adapter, column = config.adapter, columns_of(config)[0]
        if adapter.label in apart:
            continue
        done.setdefault((place[column.key], adapter.label), {})[config.seed] = record
        if adapter.name == REFERENCE and adapter.label not in references:
            references.append(adapter.label)
    differences = []
    for (column, method), reference in product(done, references):
        partners = done.get((column, reference), {})
        pairs = [(record, partners[seed]) for seed, record in done[column, method].items() if seed in partners]
        if method == reference or not pairs:
            continue
        with suppress(UserError):  # a folder of arbitrary runs may hold runs that were scored on different rows
            where = {"column": column, "method": method, "reference": reference}
            differences.append(where | _compared(gains(pairs), predictions))
    return differences


def _compared(pairs: Sequence[tuple[Record, Record]], predictions: Predictions) -> dict:
    scored = [run for pair in pairs for run in pair if run.score is not None]
    if examples := predictions.has(scored):
        difference = predictions.difference(pairs, LEVEL, RESAMPLES)
    else:
        sides = [
            [float("nan") if run.score is None else run.score for run in side] for side in zip(*pairs, strict=True)
        ]
        difference = paired_difference(*sides, LEVEL)
    return interval_part(difference) | {"n": difference.n, "n_missing": difference.n_missing, "examples": examples}
