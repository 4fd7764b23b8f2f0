"""Scores of a finished run's model, on its own task or on another task with the same number of labels."""

import surm_bench.system.torchvision_stub  # noqa: F401

# isort: split
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from surm_bench.config import Config
from surm_bench.config.identity import identity
from surm_bench.errors import UserError
from surm_bench.records import Record
from surm_bench.run import loading
from surm_bench.tasks import TaskReader, check_metric
from surm_bench.training import check_device, use_device


class Score(NamedTuple):
    """A score of a split, and the score in the record; ``recorded`` is None if the model is scored on another task."""

    split: str
    metric: str
    value: float
    recorded: float | None


def evaluate(folder: Path, record: Record, config: Config) -> list[Score]:
    """Score the adapter in a run's folder on every scored split of the task.

    Args:
        config: the configuration from surm_bench.trained.changes.

    Raises:
        UserError: the configuration is invalid, data or weights are missing or differ from their declared digests, or
            the number of labels differs from the run's.
    """
    config, reader = _checked(record, config)
    use_device(config.trainer.device)
    same = _task(config) == _task(record.config)
    model, data, config = loading.load_run(folder, config, reader)
    return [
        Score(split, metric, score, record.scores[split][record.kept][metric] if same else None)
        for split in data.splits
        for metric, score in loading.evaluate(model, data, config, split).items()
    ]


def _checked(record: Record, config: Config) -> tuple[Config, TaskReader]:
    """Refuse invalid values and tasks before weights are read.

    Returns:
        The configuration with labels and digest, and the reader of its rows.
    """
    trained = record.config.task
    config.check()
    check_device(config.trainer)
    reader = TaskReader(config.task)
    names, count = reader.config.label_names, reader.config.num_labels
    if count != trained.num_labels:
        reason = f"task {config.task.name} has {count} labels, but the run was trained with {trained.num_labels}"
        raise UserError(f"{reason}: name a task with {trained.num_labels} labels")
    if trained.label_names and names != trained.label_names and sorted(names or []) == sorted(trained.label_names):
        raise UserError(
            f"task {config.task.name} orders its classes {', '.join(names)}, but the run orders them "
            f"{', '.join(trained.label_names)}: give task.label_names=[{','.join(trained.label_names)}]"
        )
    check_metric(reader.config)
    return replace(config, task=replace(reader.config, digest=reader.digest)), reader


def _task(config: Config) -> dict:
    """Return the values of a configuration's task that determine the scores of a given model."""
    values = {key: value for key, value in identity(config).items() if key.startswith("task.")}
    return values | {"extra": config.task.extra_eval_splits}
