"""Scores of a finished run's model, on its own task or on another task with as many labels."""

import surm_bench.system.torchvision_stub  # noqa: F401

# isort: split
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from surm_bench.config import Config
from surm_bench.config.identity import identity
from surm_bench.errors import UserError
from surm_bench.records.agreement import kept
from surm_bench.run import runner
from surm_bench.tasks import check_metric, check_task
from surm_bench.tasks.digest import task_digest
from surm_bench.tasks.sources import labels
from surm_bench.training import check_config, use_device


class Score(NamedTuple):
    """A score of a split, and the score in the record; ``recorded`` is None if the model is scored on another task."""

    split: str
    metric: str
    found: float
    recorded: float | None


def evaluate(folder: Path, record: dict, settings: Config) -> list[Score]:
    """Score the adapter in a run's folder on every scored split of the task.

    Args:
        settings: the settings from surm_bench.trained.changes.

    Raises:
        UserError: settings are invalid, data or weights are missing or differ from their declared digests, or the
            number of labels differs from the run's.
    """
    _check(record, settings)
    use_device(settings.trainer.device)
    same = _task(asdict(settings)) == _task(record["config"])
    model, data, settings = runner.load_run(folder, settings)
    return [
        Score(split, metric, score, record["scores"][split][kept(record)][metric] if same else None)
        for split in data.splits
        for metric, score in runner.evaluate(model, data, settings, split).items()
    ]


def _check(record: dict, settings: Config) -> None:
    """Refuse invalid settings and tasks before weights are read; fill in the labels and the digest of the rows."""
    task, trained = settings.task, record["config"]["task"]["num_labels"]
    check_config(settings.optimizer, settings.trainer, settings.seed)
    check_task(task)
    task.label_names, task.num_labels = labels(task)
    if task.num_labels != trained:
        reason = f"task {task.name} has {task.num_labels} labels, the run was trained with {trained}"
        raise UserError(f"{reason}: name a task of {trained}")
    names = record["config"]["task"]["label_names"]
    if names and task.label_names != names and sorted(task.label_names or []) == sorted(names):
        raise UserError(
            f"task {task.name} numbers its classes {', '.join(task.label_names)}, the run {', '.join(names)}: give "
            f"task.label_names=[{','.join(names)}]"
        )
    check_metric(task)
    task.digest = task.digest or task_digest(task)


def _task(config: dict) -> dict:
    """Return the settings of a configuration's task that determine the scores of a given model."""
    found = {key: value for key, value in identity(config).items() if key.startswith("task.")}
    return found | {"extra": config["task"]["extra_eval_splits"]}
