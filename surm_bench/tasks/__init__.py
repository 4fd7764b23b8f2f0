"""Tasks: data sets, their preparation for a checkpoint, and their training objectives and metrics."""

import surm_bench.system.torchvision_stub  # noqa: F401
from surm_bench.tasks.load import RawTask, load_task, select_rows
from surm_bench.tasks.objective import Classification, Objective, Regression, check_metric, objective_for
from surm_bench.tasks.prepare import TaskData, prepare
from surm_bench.tasks.reader import TaskReader

__all__ = [
    "Classification",
    "Objective",
    "RawTask",
    "Regression",
    "TaskData",
    "TaskReader",
    "check_metric",
    "load_task",
    "objective_for",
    "prepare",
    "select_rows",
]
