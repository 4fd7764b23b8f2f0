"""What the reports of the studies share: the files beside the records, and a mean with its deviation. No torch here."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from surm_bench.report.tables import MISSING, Table, write_table
from surm_bench.studies import measurements


def write_report(folder: Path, tabulate: Callable[[dict], Table], **figures: Callable[[dict, Path], None]) -> Table:
    """Write table.{md,tex,csv} and the figures, each under its keyword, beside folder/measurements.json; return the
    table.

    Args:
        tabulate: makes the table of the records.
        figures: draw the records into files of the path given, .{png,svg,pdf}.
    """
    records = measurements.read(folder / "measurements.json")
    table = tabulate(records)
    write_table(table, folder, "table")
    for name, draw in figures.items():
        draw(records, folder / name)
    return table


def mean_and_deviation(mean: float, std: float, form: str) -> str:
    """``0.30 ± 0.14`` by a form as "{:.2f}"; without the deviation of a single one, and MISSING where nothing is."""
    if pd.isna(mean):
        return MISSING
    return form.format(mean) + ("" if pd.isna(std) else f" ± {form.format(std)}")
