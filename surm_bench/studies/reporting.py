"""Shared parts of the studies: the files of a finished study, and the texts of cells. Without torch."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from surm_bench.report.console import print_table
from surm_bench.report.tables import MISSING, Table, write_table
from surm_bench.studies import measurements
from surm_bench.system import environment


def about(study: str, settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the description of a study for its records: name, settings, environment, and anything else by its key."""
    return {"study": study, "settings": settings, "environment": environment.describe(), **more}


def conclude(
    folder: Path,
    description: dict[str, Any],
    tables: Mapping[str, list[dict]],
    tabulate: Callable[[dict], Table],
    **figures: Callable[[dict, Path], None],
) -> None:
    """Write the records of a study and its report into folder, and print the table.

    Args:
        folder: where measurements.json, table.{md,tex,csv} and the figures go.
        description: the first keys of the records, as from :func:`about`.
        tables: the measurements, rows by the name of their table.
        tabulate: makes the table from the records.
        figures: draw the records into files of the given path, .{png,svg,pdf}; the keyword is the stem of these files.
    """
    measurements.write(folder / "measurements.json", description, **tables)
    records = measurements.read(folder / "measurements.json")
    table = tabulate(records)
    write_table(table, folder, "table")
    for name, draw in figures.items():
        draw(records, folder / name)
    print_table(table)


def diverged_of(n: float, seeds: int) -> str:
    """Return for example ``1 of 3 diverged``: stands for the mean where only n of the seeds have a finite loss."""
    return f"{seeds - n:g} of {seeds} diverged"


def mean_and_deviation(mean: float, std: float, form: str) -> str:
    """Return for example ``0.30 ± 0.14`` for the form "{:.2f}"; a single value has no deviation, none gives MISSING."""
    if pd.isna(mean):
        return MISSING
    return form.format(mean) + ("" if pd.isna(std) else f" ± {form.format(std)}")
