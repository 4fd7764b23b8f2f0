"""Records as data frames: one row per run and split, then one row per table cell. Scores stay as measured (0 to 1)."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any, Literal, NamedTuple

import pandas as pd

from surm_bench.config import Config, TaskConfig
from surm_bench.config.methods import method_of
from surm_bench.config.positive_class import shown_metric
from surm_bench.errors import UserError
from surm_bench.metrics import METRICS, Metric, metric_shown_as
from surm_bench.records import Record

COLUMN = ["model", "task", "setting", "split"]  # the key of a table's column
CELL = [*COLUMN, "label"]
SUMMARY_ORDER = [  # after CELL; the other columns follow as they are declared, so that a new column comes last
    *("adapter", "family", "metric", "fraction", "lr", "epochs", "selection"),
    *("mean", "std", "n", "diverged", "failed"),
    *("adapter_parameters", "head_parameters", "stored_parameters", "lora_ratio", "group_id"),
    *("train_seconds", "wall_seconds", "step_ms"),
]
MIB = 2**20


class RunValue(NamedTuple):
    """A column of runs_frame.

    Attributes:
        name: the name of the column.
        dtype: the type of the column.
        get: from a record and a split (reported, or an extra one) to the value; None where the run did not measure it.
        summary: how summary_frame takes the value of a cell: from its first run ("constant"), from its first scored run
            ("first"), as the mean over its scored runs ("mean"), or not at all.
        listed: whether runs.csv has the column.
    """

    name: str
    dtype: str
    get: Callable[[Record, str], Any]
    summary: Literal["constant", "first", "mean"] | None = None
    listed: bool = True


def _at(path: str) -> Callable[[Record, str], Any]:
    """Return a function for a field of a record, such as ``timing.train_seconds``; None if a part of it is missing."""

    def get(record: Record, _: str) -> Any:
        return reduce(lambda part, name: None if part is None else getattr(part, name), path.split("."), record)

    return get


def _score(epoch: Callable[[Record], str]) -> Callable[[Record, str], float | None]:
    return lambda record, split: record.scores.get(split, {}).get(epoch(record), {}).get(record.primary_metric)


def _memory(record: Record, _: str) -> float | None:
    return record.memory and record.memory.peak_bytes / MIB


RUN_VALUES = (
    RunValue("run_id", "str", _at("run_id")),
    RunValue("group_id", "str", _at("group_id"), "first"),
    RunValue("status", "str", _at("status")),
    RunValue("error", "str", _at("error")),
    RunValue("model", "str", _at("config.model.name")),
    RunValue("task", "str", _at("config.task.name")),
    # "" for the full training set, otherwise "2 %", "5 shots", "n=400" or "VTAB-1k"
    RunValue("setting", "str", lambda record, _: _setting(record.config.task)[0]),
    # of the training set; missing where the setting counts examples
    RunValue("fraction", "float64", lambda record, _: _setting(record.config.task)[1], "constant"),
    # "" for the reported split, otherwise as in task.extra_eval_splits
    RunValue("split", "str", lambda _, split: "" if split == "reported" else split),
    RunValue("adapter", "str", _at("config.adapter.name"), "constant"),
    RunValue("label", "str", _at("config.adapter.label")),
    RunValue("family", "str", lambda record, _: adapter_family(record.config.adapter.peft), "constant"),
    RunValue("seed", "Int64", _at("config.seed")),
    RunValue("lr", "float64", _at("config.optimizer.lr"), "first"),
    RunValue("metric", "str", lambda record, _: shown_metric(record.config.task), "constant"),
    # primary metric in the kept epoch, by default the last; the reported split chooses no epoch
    RunValue("score", "float64", _score(lambda record: record.kept)),
    RunValue("best_score", "float64", _score(lambda _: "best")),
    # the split that chose the best epoch: reported or validation
    RunValue("selection", "str", _at("selection"), "first"),
    RunValue("epochs", "Int64", _at("config.trainer.epochs"), "first"),
    RunValue("adapter_parameters", "Int64", _at("parameters.adapter"), "first"),
    RunValue("head_parameters", "Int64", _at("parameters.head"), "first"),
    RunValue("stored_parameters", "Int64", _at("parameters.stored"), "first"),
    # LoRA r=8 parameters / adapter parameters; NaN for an adapter without parameters
    RunValue("lora_ratio", "float64", _at("baseline.ratio"), "first"),
    RunValue("train_seconds", "float64", _at("timing.train_seconds"), "mean"),
    RunValue("wall_seconds", "float64", _at("timing.wall_seconds"), "mean"),
    RunValue("step_ms", "float64", _at("timing.step_ms_median"), "mean"),
    RunValue("git_commit", "str", _at("environment.git_commit")),
    RunValue("device", "str", _at("environment.device")),
    RunValue("platform", "str", _at("environment.platform")),
    RunValue("memory", "float64", _memory, listed=False),  # peak, in MiB; the committed runs.csv do not have it
)


class TaskColumn(NamedTuple):
    """The model, task, setting, split and metric of a table's column; columns differ in any of these but the metric."""

    model: str
    task: str
    setting: str = ""
    split: str = ""
    metric: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Model, task, setting and split, which identify the column."""
        return self[:4]

    @property
    def measure(self) -> Metric:
        """The direction and the unit of the column's scores; those of accuracy for a column without a run."""
        return metric_shown_as(self.metric or "accuracy")

    @property
    def title(self) -> str:
        """The column's title, for example ``rte``, ``mnli-mm`` or ``cifar10 2 %``."""
        split = {"": "", "mismatched": "-mm"}.get(self.split, f"-{self.split}")
        return f"{self.task.rpartition('/')[2]}{split} {self.setting}".rstrip()


def runs_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Return one row per run and split, for runs of any status; values that a failed run never measured are missing.

    Raises:
        UserError: a record was made when its metric had another direction, or its metric is unknown.
    """
    rows = []
    for record in records:
        _check_direction(record)
        for split in ("reported", *record.config.task.extra_eval_splits):
            rows.append([value.get(record, split) for value in RUN_VALUES])
    dtypes = {value.name: value.dtype for value in RUN_VALUES}
    return pd.DataFrame(rows, columns=list(dtypes)).astype(dtypes)


def listed(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of runs_frame that runs.csv has."""
    return runs[[value.name for value in RUN_VALUES if value.listed]]


def summary_frame(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per (model, task, setting, split, label), with scores over the seeds of successful runs only.

    Columns: CELL, the values of RUN_VALUES that have a summary, mean, std (sample standard deviation, NaN for one
    seed), n, diverged (runs whose loss was not finite) and failed (runs that failed, broke off or have no score). A
    cell with a diverged run has no mean: the mean of the other runs would flatter the method. A cell whose runs all
    failed has n = 0 and no mean.

    Raises:
        UserError: one cell holds runs of two configurations, whose scores must not be averaged, or one column is scored
            by two metrics.
    """
    diverged = runs["status"] == "diverged"
    scored = (runs["status"] == "success") & runs["score"].notna()
    done = runs[scored]
    for column, metrics in runs.groupby(COLUMN)["metric"].unique().items():
        if len(metrics) > 1:
            raise UserError(
                f"{' / '.join(filter(None, column))} is scored by {' and '.join(sorted(metrics))}: keep one"
            )
    for cell, groups in done.groupby(CELL)["group_id"].unique().items():
        if len(groups) > 1:
            raise UserError(
                f"{' / '.join(filter(None, cell))} was run in {len(groups)} configurations: keep one of the group ids "
                f"{', '.join(sorted(groups))}"
            )
    cells = done.groupby(CELL).agg(
        **{v.name: (v.name, v.summary) for v in RUN_VALUES if v.summary in ("first", "mean")},
        mean=("score", "mean"),
        std=("score", "std"),
        n=("score", "size"),
    )
    constants = runs.groupby(CELL).agg(**{v.name: (v.name, "first") for v in RUN_VALUES if v.summary == "constant"})
    summary = constants.join(cells)
    summary["n"] = summary["n"].fillna(0).astype(int)
    for name, rows in (("diverged", diverged), ("failed", ~(scored | diverged))):
        summary[name] = runs[rows].groupby(CELL).size().reindex(summary.index, fill_value=0)
    summary.loc[summary["diverged"] > 0, ["mean", "std"]] = float("nan")
    return summary[SUMMARY_ORDER + [name for name in summary if name not in SUMMARY_ORDER]].reset_index()


def curves_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Return learning curves on the reported split.

    Columns: model, task, setting, split, label, metric, step, mean, std (sample standard deviation over seeds), n. A
    cell that diverged on a seed has no curve, just as it has no mean.
    """
    records = {record.run_id: record for record in records}
    runs = runs_frame(records.values())
    diverged = (runs["status"] == "diverged").groupby([runs[name] for name in CELL]).transform("any")
    runs = runs[(runs["status"] == "success") & ~diverged & (runs["split"] == "")]
    points = [
        (*run, point["step"], point["scores"]["reported"][records[run.run_id].primary_metric])
        for run in runs[[*CELL, "metric", "run_id"]].itertuples(index=False)
        for point in records[run.run_id].history
    ]
    columns = [*CELL, "metric"]
    frame = pd.DataFrame(points, columns=[*columns, "run_id", "step", "score"])
    by_step = frame.groupby([*columns, "step"], sort=False)["score"].agg(mean="mean", std="std", n="size")
    return by_step.reset_index().sort_values([*CELL, "step"], kind="stable", ignore_index=True)


def task_columns(frame: pd.DataFrame, tasks: Sequence[str] | None = None) -> list[TaskColumn]:
    """Return the columns that have a row in the frame.

    Tasks come in the given order (None: by name), the columns of a model side by side. Within a task, smaller settings
    come before the full training set, and the reported split before the other splits.
    """
    tasks = list(tasks or sorted(frame["task"].unique()))
    distinct = frame[frame["task"].isin(tasks)][list(TaskColumn._fields)].drop_duplicates()
    columns = [TaskColumn(*row) for row in distinct.itertuples(index=False)]
    first = {model: min(tasks.index(c.task) for c in columns if c.model == model) for model, *_ in columns}
    return sorted(columns, key=lambda c: (first[c.model], c.model, tasks.index(c.task), _size(c.setting), c.split))


def rising(frame: pd.DataFrame, name: str) -> pd.Series:
    """Return the scores of a column, negated where a lower score is better: a greater value is then always better.

    Args:
        frame: has the columns metric and ``name``.
    """
    return frame[name] * frame["metric"].map(lambda metric: metric_shown_as(metric).sign).astype(float)


def one_measure(columns: Iterable[TaskColumn]) -> bool:
    """Whether the scores of the columns have one direction and one unit, so that their average has a meaning."""
    return len({(column.measure.sign, column.measure.unit) for column in columns}) <= 1


def cells_of(frame: pd.DataFrame, column: TaskColumn) -> pd.DataFrame:
    """Return the rows that belong to a column, of all methods."""
    return frame[(frame[COLUMN] == list(column.key)).all(axis=1)]


def columns_of(config: Config) -> list[TaskColumn]:
    """Return the columns that a run of this configuration fills: the reported split and the extra splits."""
    setting, _ = _setting(config.task)
    model, task, metric = config.model.name, config.task.name, shown_metric(config.task)
    return [TaskColumn(model, task, setting, split, metric) for split in ("", *config.task.extra_eval_splits)]


def adapter_family(peft: dict[str, Any]) -> str:
    """Return the kind of method that a PEFT config describes.

    structured: a structured matrix of this package; bottleneck: Houlsby's adapter and its variants; own parameters:
    some or all parameters of the backbone; LoRA: a factored weight delta; other PEFT: all other methods.
    """
    return "structured" if peft.get("structure") else method_of(peft).family


def _check_direction(record: Record) -> None:
    """Refuse a record whose metric had another direction than the metric has now: no table can be right for both."""
    metric, then = record.primary_metric, record.greater_is_better
    if metric in METRICS and METRICS[metric].greater_is_better != then:
        raise UserError(
            f"run {record.run_id} was made when greater_is_better of {metric} was {then}, and it is "
            f"{METRICS[metric].greater_is_better} in surm_bench/metrics/registry.py: rename the new metric"
        )


def _setting(task: TaskConfig) -> tuple[str, float | None]:
    """Return the training data of a run, in words and as a fraction of the training set."""
    if task.vtab1k:
        return "VTAB-1k", None
    if (shots := task.shots) is not None:
        return f"{shots} shot{'s' * (shots != 1)}", None
    if (size := task.max_train_samples) is not None:
        return f"n={size}", None
    fraction = task.fraction or 1.0
    return (f"{100 * fraction:g} %" if fraction < 1 else ""), fraction


def _size(setting: str) -> tuple[bool, str, float]:
    """Return a sort key: "2 %" before "10 %" before "5 shots" before the full training set."""
    number = re.search(r"[\d.]+", setting)
    return not setting, re.sub(r"[\d.]+", "", setting), float(number[0]) if number else 0.0
