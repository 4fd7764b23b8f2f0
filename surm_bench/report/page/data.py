"""The contents of a report page as JSON: cells with intervals, their runs, curves and differences."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd

from surm_bench.metrics import metric_shown_as
from surm_bench.records import COLLECTED, Record, run_folder
from surm_bench.report.best_epoch import show_best_epoch
from surm_bench.report.expected_validation import expected_curves, full_trials
from surm_bench.report.frames import (
    CELL,
    COLUMN,
    TaskColumn,
    columns_of,
    curves_frame,
    one_measure,
    rising,
    runs_frame,
    summary_frame,
)
from surm_bench.report.looks import leading, method_looks
from surm_bench.report.page.tradeoff import COUNTED, MEASURED, tradeoff
from surm_bench.report.provenance import commit
from surm_bench.report.published import Published, PublishedRows
from surm_bench.report.tables import Table, average, averaged, marks_of
from surm_bench.report.verdicts import Compared, decided_color
from surm_bench.statistics import Interval, mean_interval

LEVEL = 0.95
SYMBOLS = {  # matplotlib's marker -> Plotly's name
    **{"o": "circle", "s": "square", "^": "triangle-up", "v": "triangle-down", "<": "triangle-left"},
    **{">": "triangle-right", "D": "diamond", "p": "pentagon"},
}
ENDS = ("mean", "low", "high")


class TriedSetting(NamedTuple):
    """A setting that tuning tried on a task of an experiment, with the record of each of its seeds (at least one)."""

    task: str
    label: str
    setting: str
    steps: int
    chosen: bool
    records: list[Record]


@dataclass(frozen=True)
class Results:
    """The results of an experiment, or of a folder of runs.

    Attributes:
        name: the title of the results.
        folder: the folder of the records.
        families: the family of each label, in the order of the table.
        columns: the columns of the table, from left to right.
        records: the records of the reported runs, of any status.
        protocol: sentences about how settings were chosen and where the runs come from.
        best_epoch: the labels that show the score of the best epoch.
        tried: the settings that tuning tried.
        tuning_scores: the scores of tuning, one row per trial and seed.
        differences: one row per method and reference.
        published: published results, to be shown beside measured ones.
        table: shown instead of scores if only tuning was run.
        question: what the results answer, in a sentence or two.
    """

    name: str
    folder: Path
    families: Mapping[str, str]
    columns: Sequence[TaskColumn]
    records: Sequence[Record]
    protocol: str = ""
    best_epoch: Sequence[str] = ()
    tried: Sequence[TriedSetting] = ()
    tuning_scores: pd.DataFrame = field(default_factory=pd.DataFrame)
    differences: Sequence[dict] = ()
    published: Published = field(default_factory=Published)
    table: Table | None = None
    question: str = ""


def page_part(results: Results, base: Path) -> dict[str, Any]:
    """Return these results as a part of a page, ready for JSON: scores as measured, NaN as None.

    Args:
        results: the results to show.
        base: the folder of the page; links are relative to it.
    """
    looks = method_looks(results.families)
    frame = show_best_epoch(runs_frame(results.records), results.best_epoch)
    curves = curves_frame(results.records)
    cells = _cells(frame, results.columns)
    tried = [record for setting in results.tried for record in setting.records]
    return {
        "name": results.name,
        "question": results.question,
        "protocol": results.protocol,
        "methods": [
            {"label": label, "family": look.family, "color": look.color, "symbol": SYMBOLS[look.marker]}
            for label, look in looks.items()
        ],
        "columns": [_column(column) for column in results.columns],
        "cells": cells,
        "seeds": max((cell["n"] for cell in cells), default=0),
        "averages": _averages(cells, results.columns),
        "tradeoffs": [
            {cost: tradeoff(of_column, cost, column.measure) for cost in (*COUNTED, *MEASURED)}
            for column, of_column in zip(results.columns, _by_column(cells, results.columns), strict=True)
        ],
        "runs": {record.run_id: _run(record, results.folder, base) for record in [*results.records, *tried]},
        "curves": _curves(curves, results.columns),
        "leading": leading(_last(curves), looks),
        "trials": [_tried(setting, results.columns) for setting in results.tried],
        "expected": _expected(results.tuning_scores),
        "differences": list(results.differences),
        "published": _published(results.published, results.columns),
        "table": results.table and table_part(results.table),
    }


def table_part(table: Table) -> dict[str, Any]:
    """Return a finished table as texts."""
    return {
        "titles": [column.title for column in table.columns],
        "rows": [[{"text": cell.text, "best": cell.mark == "best"} for cell in row] for row in table.rows],
        "caption": table.caption,
    }


def interval_part(interval: Interval) -> dict[str, Any]:
    """Return the mean and the ends of an interval; an unknown value is None."""
    return {name: _number(getattr(interval, name)) for name in ENDS}


def comparison_part(one: Compared, answer: tuple[str, str]) -> dict[str, Any]:
    """Return a comparison that helps to decide a claim, with its verdict and the reason in words."""
    verdict, reason = answer
    shown = {"color": decided_color(one.difference), "symbol": "circle" if one.primary else "circle-open"}
    return {
        "title": one.title,
        "experiment": one.experiment,
        "primary": one.primary,
        "verdict": one.verdict,
        "answer": f"{verdict}, {reason}",
        "runs": list(one.runs),
        **shown,
        **interval_part(one.difference),
    }


def _column(column: TaskColumn) -> dict[str, Any]:
    """Return a column with its title, the direction of its scores, and whether the page multiplies them by 100."""
    measure = column.measure
    about = {"title": column.title, "percent": measure.percent, "greater_is_better": measure.greater_is_better}
    return column._asdict() | about


def _cells(frame: pd.DataFrame, columns: Sequence[TaskColumn]) -> list[dict]:
    """Return one entry per table cell, with the position of its column, its runs, and intervals over its seeds."""
    runs = dict(list(frame.groupby(CELL)))
    place = _places(columns)
    cells = [_cell(row, runs[tuple(row[CELL])], place) for _, row in summary_frame(frame).iterrows()]
    for column, of_column in zip(columns, _by_column(cells, columns), strict=True):
        best = marks_of([cell["score"]["mean"] for cell in of_column], column.measure)
        for cell, mark in zip(of_column, best, strict=True):
            cell["best"] = mark == "best"
    return cells


def _by_column(cells: Sequence[dict], columns: Sequence[TaskColumn]) -> list[list[dict]]:
    return [[cell for cell in cells if cell["column"] == place] for place in range(len(columns))]


def _averages(cells: Sequence[dict], columns: Sequence[TaskColumn]) -> list[dict]:
    """Return the averages of each model: title, the positions of the averaged columns, and the mean of each method."""
    means = {(cell["column"], cell["method"]): cell["score"]["mean"] for cell in cells}
    methods, places = dict.fromkeys(cell["method"] for cell in cells), _places(columns)
    parts = []
    for model in dict.fromkeys(column.model for column in columns):
        for setting, tasks in averaged([column for column in columns if column.model == model]).items():
            if not one_measure(tasks):
                continue
            of = [places[column.key] for column in tasks]
            averages = {method: average([means.get((place, method)) for place in of]) for method in methods}
            about = {"title": f"Average {setting}".rstrip(), "percent": tasks[0].measure.percent}
            parts.append(about | {"columns": of, "means": averages})
    return parts


def _cell(row: pd.Series, runs: pd.DataFrame, place: Mapping[tuple, int]) -> dict:
    done = runs[(runs["status"] == "success") & runs["score"].notna()]
    scores = done["score"] if not row["diverged"] else []  # the mean of the other runs would flatter the method
    return {
        "column": place[tuple(row[COLUMN])],
        "method": row["label"],
        "score": interval_part(mean_interval(scores, LEVEL)) | {"std": _number(row["std"])},
        **{name: int(row[name]) for name in ("n", "diverged", "failed")},
        "parameters": _number(row["adapter_parameters"]),
        "stored_parameters": _number(row["stored_parameters"]),
        "lr": _number(row["lr"]),
        **{name: _of_positive(done[name].dropna()) for name in MEASURED},
        "runs": runs["run_id"].tolist(),
    }


def _of_positive(values: pd.Series) -> dict:
    """Return the interval of the geometric mean: times differ by factors, and no end may be below zero."""
    logs = mean_interval(np.log(values), LEVEL)
    return {name: _number(np.exp(getattr(logs, name))) for name in ENDS}


def _run(record: Record, folder: Path, base: Path) -> dict:
    """Return the facts of a run for the page: how to repeat it, where it was made, and a link to its full record."""
    here = run_folder(folder, record.run_id) / "record.json"
    environment = record.environment
    return {
        "method": record.config.adapter.label,
        "task": record.config.task.name,
        "model": record.config.model.name,
        "seed": record.config.seed,
        "status": record.status,
        "score": _number(record.score),
        "percent": metric_shown_as(record.primary_metric).percent,
        "tuning": record.is_tuning,
        "error": record.error,
        "command": record.command,
        "commit": commit(record),
        "machine": f"{environment.device}, {environment.platform}",
        "created": record.created,
        "record": _link(here if here.is_file() else folder / COLLECTED, base),
    }


def _curves(curves: pd.DataFrame, columns: Sequence[TaskColumn]) -> list[dict]:
    place = _places(columns)
    return [
        {"column": place[tuple(cell)], "method": label}
        | {name: [_number(value) for value in line[name]] for name in ("step", "mean", "std")}
        for (*cell, label), line in curves.groupby(CELL, sort=False)
    ]


def _last(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the score after the last step, (panels, labels), where a greater value is better."""
    return curves.assign(mean=rising(curves, "mean")).groupby(CELL)["mean"].last().unstack()


def _tried(tried: TriedSetting, columns: Sequence[TaskColumn]) -> dict:
    scores = [record.score for record in tried.records]
    column = columns_of(tried.records[0].config)[0]
    return {
        "column": _places(columns)[column.key],
        "task": tried.task,
        "method": tried.label,
        "setting": tried.setting,
        "steps": tried.steps,
        "chosen": tried.chosen,
        "mean": None if None in scores else _number(np.mean(scores)),
        "runs": [record.run_id for record in tried.records],
    }


def _places(columns: Sequence[TaskColumn]) -> dict[tuple, int]:
    """Return the position of each column."""
    return {column.key: i for i, column in enumerate(columns)}


def _expected(scores: pd.DataFrame) -> list[dict]:
    """Return, by task and label, the expected best score of n settings, from n = 1."""
    if scores.empty:
        return []
    return [
        {"task": task, "method": label, "percent": percent, "best": [_number(value) for value in curve]}
        for task, of_task in full_trials(scores).groupby("task", sort=False)
        for percent in [metric_shown_as(of_task["metric"].iloc[0]).percent]
        for label, curve in expected_curves(of_task).items()
    ]


def _published(published: Published, columns: Sequence[TaskColumn]) -> dict[str, Any]:
    rows = PublishedRows(published, columns)
    scores = list(zip(*map(rows.scores, columns), strict=True)) if rows.results else []
    return {
        "rows": [
            {"label": label, "model": result.model, "parameters": result.parameters, "scores": list(of_row)}
            for label, result, of_row in zip(rows.labels(), rows.results, scores, strict=True)
        ],
        "sources": rows.references(),
    }


def _link(path: Path, base: Path) -> str:
    return quote(Path(os.path.relpath(path, base)).as_posix())


def _number(value: Any) -> int | float | None:
    """Return a number for JSON with six significant digits; None for a missing or infinite value."""
    if value is None or pd.isna(value) or not np.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else float(f"{value:.6g}")


def newest(records: Iterable[Record]) -> str:
    """Return the date of the latest record, "" without records. A page shows this date, not the day it was made."""
    return max((record.created[:10] for record in records), default="")
