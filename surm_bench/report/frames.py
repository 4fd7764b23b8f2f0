"""Records as data frames: one row per run and split, then one row per table cell. Scores stay as measured (0 to 1)."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd

from surm_bench.config import Config, TaskConfig
from surm_bench.config.methods import method_of
from surm_bench.config.positive_class import shown_metric
from surm_bench.errors import UserError
from surm_bench.metrics import METRICS, Metric, metric_shown_as
from surm_bench.records import Record

RUN_COLUMNS = {
    "run_id": "str",
    "group_id": "str",
    "status": "str",
    "error": "str",
    "model": "str",
    "task": "str",
    "setting": "str",  # "" for the full training set, otherwise "2 %", "5 shots", "n=400" or "VTAB-1k"
    "fraction": "float64",  # of the training set; missing where the setting counts examples
    "split": "str",  # "" for the reported split, otherwise as in task.extra_eval_splits
    "adapter": "str",
    "label": "str",
    "family": "str",
    "seed": "Int64",
    "lr": "float64",
    "metric": "str",
    "score": "float64",  # primary metric in the kept epoch, by default the last; the reported split chooses no epoch
    "best_score": "float64",
    "selection": "str",  # the split that chose the best epoch: reported or validation
    "epochs": "Int64",
    "adapter_parameters": "Int64",
    "head_parameters": "Int64",
    "stored_parameters": "Int64",
    "lora_ratio": "float64",  # LoRA r=8 parameters / adapter parameters; NaN for an adapter without parameters
    "train_seconds": "float64",
    "wall_seconds": "float64",
    "step_ms": "float64",
    "git_commit": "str",
    "device": "str",
    "platform": "str",
}
CELL = ["model", "task", "setting", "split", "label"]
CELL_CONSTANTS = ["adapter", "family", "metric", "fraction"]
RUN_CONSTANTS = ["lr", "epochs", "selection"]
COUNTS = ["adapter_parameters", "head_parameters", "stored_parameters", "lora_ratio"]


class TaskColumn(NamedTuple):
    """The model, task, setting, split and metric of a table's column; columns differ in any of these but the metric."""

    model: str
    task: str
    setting: str = ""
    split: str = ""
    metric: str = ""

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
    rows = [row for record in records for row in _rows(record)]
    return pd.DataFrame(rows, columns=list(RUN_COLUMNS)).astype(RUN_COLUMNS)


def summary_frame(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per (model, task, setting, split, label), with scores over the seeds of successful runs only.

    Columns: model, task, setting, split, label, adapter, family, metric, fraction, lr, epochs, selection, mean, std
    (sample standard deviation, NaN for one seed), n, diverged (runs whose loss was not finite), failed (runs that
    failed, broke off or have no score), adapter_parameters, head_parameters, stored_parameters, lora_ratio,
    train_seconds, wall_seconds and step_ms (means), group_id. A cell with a diverged run has no mean: the mean of the
    other runs would flatter the method. A cell whose runs all failed has n = 0 and no mean.

    Raises:
        UserError: one cell holds runs of two configurations, whose scores must not be averaged, or one column is scored
            by two metrics.
    """
    diverged = runs["status"] == "diverged"
    scored = (runs["status"] == "success") & runs["score"].notna()
    done = runs[scored]
    for column, metrics in runs.groupby(CELL[:-1])["metric"].unique().items():
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
        **{name: (name, "first") for name in (*RUN_CONSTANTS, *COUNTS, "group_id")},
        mean=("score", "mean"),
        std=("score", "std"),
        n=("score", "size"),
        **{name: (name, "mean") for name in ("train_seconds", "wall_seconds", "step_ms")},
    )
    constants = runs.groupby(CELL).agg(**{name: (name, "first") for name in CELL_CONSTANTS})
    summary = constants.join(cells)
    summary["n"] = summary["n"].fillna(0).astype(int)
    for name, rows in (("diverged", diverged), ("failed", ~(scored | diverged))):
        summary[name] = runs[rows].groupby(CELL).size().reindex(summary.index, fill_value=0)
    summary.loc[summary["diverged"] > 0, ["mean", "std"]] = float("nan")
    before = [*CELL_CONSTANTS, *RUN_CONSTANTS, "mean", "std", "n", "diverged", "failed", *COUNTS]
    return summary[before + [name for name in summary if name not in before]].reset_index()


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
    return frame[(frame[CELL[:-1]] == list(column[:4])).all(axis=1)]


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


def _rows(record: Record) -> Iterator[dict[str, Any]]:
    """Yield the row of a run on the reported split, then a row for each extra split."""
    config = record.config
    _check_direction(record)
    setting, fraction = _setting(config.task)
    shared = {
        "run_id": record.run_id,
        "group_id": record.group_id,
        "status": record.status,
        "error": record.error,
        "model": config.model.name,
        "task": config.task.name,
        "setting": setting,
        "fraction": fraction,
        "adapter": config.adapter.name,
        "label": config.adapter.label,
        "family": adapter_family(config.adapter.peft),
        "seed": config.seed,
        "lr": config.optimizer.lr,
        "metric": shown_metric(config.task),
        "selection": record.selection,
        "epochs": config.trainer.epochs,
        "adapter_parameters": _of(record.parameters, "adapter"),
        "head_parameters": _of(record.parameters, "head"),
        "stored_parameters": _of(record.parameters, "stored"),
        "lora_ratio": _of(record.baseline, "ratio"),
        "train_seconds": _of(record.timing, "train_seconds"),
        "wall_seconds": _of(record.timing, "wall_seconds"),
        "step_ms": _of(record.timing, "step_ms_median"),
        **{name: getattr(record.environment, name) for name in ("git_commit", "device", "platform")},
    }
    for split in ("reported", *config.task.extra_eval_splits):
        epochs = record.scores.get(split, {})
        score, best = (epochs.get(epoch, {}).get(record.primary_metric) for epoch in (record.kept, "best"))
        yield shared | {"split": "" if split == "reported" else split, "score": score, "best_score": best}


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


def _of(part: object | None, name: str) -> Any:
    """Return a value of a part of a record, or None if the run ended before it was measured."""
    return None if part is None else getattr(part, name)
