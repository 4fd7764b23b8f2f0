"""Records as data frames: one row a run, then one row a cell of a table. Scores stay as measured (0 to 1)."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from surm_bench.errors import UserError

RUN_COLUMNS = {
    "run_id": "str",
    "group_id": "str",
    "status": "str",
    "model": "str",
    "task": "str",
    "adapter": "str",
    "label": "str",
    "family": "str",
    "seed": "Int64",
    "lr": "float64",
    "metric": "str",
    "score": "float64",  # primary metric after the last epoch: no choice of epoch on the reported split
    "best_score": "float64",
    "adapter_parameters": "Int64",
    "head_parameters": "Int64",
    "stored_parameters": "Int64",
    "lora_ratio": "float64",  # LoRA r=8 parameters / adapter parameters; NaN for an adapter without parameters
    "train_seconds": "float64",
    "step_ms": "float64",
    "git_commit": "str",
    "device": "str",
    "platform": "str",
}
CELL = ["model", "task", "label"]


def runs_frame(records: Iterable[dict]) -> pd.DataFrame:
    """One row a run, whatever its status; what a failed run never measured is missing."""
    return pd.DataFrame([_row(record) for record in records], columns=list(RUN_COLUMNS)).astype(RUN_COLUMNS)


def summary_frame(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per (model, task, label) over the seeds of successful runs.

    Columns: model, task, label, adapter, family, metric, lr, mean, std (sample standard deviation, NaN for one seed),
    n, adapter_parameters, head_parameters, stored_parameters, lora_ratio, train_seconds and step_ms (means), group_id.

    Raises:
        UserError: one cell holds runs of two configurations, whose scores must not be averaged.
    """
    done = runs[(runs["status"] == "success") & runs["score"].notna()]
    for cell, groups in done.groupby(CELL)["group_id"].unique().items():
        if len(groups) > 1:
            raise UserError(
                f"{' / '.join(cell)} was run in {len(groups)} configurations: keep one of the group ids "
                f"{', '.join(sorted(groups))}"
            )
    constant = ["adapter", "family", "metric", "lr"]
    counts = ["adapter_parameters", "head_parameters", "stored_parameters", "lora_ratio"]
    cells = done.groupby(CELL, as_index=False)
    return cells.agg(
        **{name: (name, "first") for name in constant},
        mean=("score", "mean"),
        std=("score", "std"),
        n=("score", "size"),
        **{name: (name, "first") for name in counts},
        train_seconds=("train_seconds", "mean"),
        step_ms=("step_ms", "mean"),
        group_id=("group_id", "first"),
    )


def task_columns(summary: pd.DataFrame, tasks: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """The (model, task) pairs with a run: tasks in the given order (None: all by name), a model's side by side."""
    tasks = list(tasks or sorted(summary["task"].unique()))
    pairs = {pair for pair in zip(summary["model"], summary["task"], strict=True) if pair[1] in tasks}
    first = {model: min(tasks.index(t) for m, t in pairs if m == model) for model, _ in pairs}
    return sorted(pairs, key=lambda pair: (first[pair[0]], pair[0], tasks.index(pair[1])))


def adapter_family(peft: dict[str, Any]) -> str:
    """Which kind of method a PEFT config is: LoRA, structured, bottleneck or other."""
    if peft.get("bottleneck"):
        return "bottleneck"
    if peft.get("structure"):
        return "structured"
    return "LoRA" if str(peft.get("_target_", "")).endswith("LoraConfig") else "other"


def _row(record: dict) -> dict[str, Any]:
    config = record["config"]
    metric = record.get("primary_metric") or config["task"]["primary_metric"]
    return {
        "run_id": record["run_id"],
        "group_id": record["group_id"],
        "status": record["status"],
        "model": config["model"]["name"],
        "task": config["task"]["name"],
        "adapter": config["adapter"]["name"],
        "label": config["adapter"]["label"],
        "family": adapter_family(config["adapter"]["peft"]),
        "seed": config["seed"],
        "lr": config["optimizer"]["lr"],
        "metric": metric,
        "score": _get(record, "metrics", "last", metric),
        "best_score": _get(record, "metrics", "best", metric),
        "adapter_parameters": _get(record, "parameters", "adapter"),
        "head_parameters": _get(record, "parameters", "head"),
        "stored_parameters": _get(record, "parameters", "stored"),
        "lora_ratio": _get(record, "baseline", "ratio"),
        "train_seconds": _get(record, "timing", "train_seconds"),
        "step_ms": _get(record, "timing", "step_ms_median"),
        **{name: _get(record, "environment", name) for name in ("git_commit", "device", "platform")},
    }


def _get(record: dict, *keys: str) -> Any:
    """The nested value, or None where a run ended before it was measured."""
    value: Any = record
    for key in keys:
        value = (value or {}).get(key)
    return value
