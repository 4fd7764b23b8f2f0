"""Shared parts of the studies' reports: the files beside the records, and a mean with its deviation. Without torch."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from surm_bench.report.tables import MISSING, Table, write_table
from surm_bench.studies import measurements


def write_report(folder: Path, tabulate: Callable[[dict], Table], **figures: Callable[[dict, Path], None]) -> Table:
    """Write table.{md,tex,csv} and the figures, each under its keyword, beside folder/measurements.json.

    Args:
        folder: the folder of measurements.json.
        tabulate: makes the table from the records.
        figures: draw the records into files of the given path, .{png,svg,pdf}.

    Returns:
        The table.
    """
    records = measurements.read(folder / "measurements.json")
    table = tabulate(records)
    write_table(table, folder, "table")
    for name, draw in figures.items():
        draw(records, folder / name)
    return table


def mean_and_deviation(mean: float, std: float, form: str) -> str:
    """Return for example ``0.30 ± 0.14`` for the form "{:.2f}"; a single value has no deviation, none gives MISSING."""
    if pd.isna(mean):
        return MISSING
    return form.format(mean) + ("" if pd.isna(std) else f" ± {form.format(std)}")
