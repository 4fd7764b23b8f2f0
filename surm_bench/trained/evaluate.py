"""Scores of a finished run's model, on its own task or on another task with the same number of labels."""

import surm_bench.system.torchvision_stub  # noqa: F401

# isort: split
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from surm_bench.config import Config, TaskConfig
from surm_bench.config.identity import identity
from surm_bench.errors import UserError
from surm_bench.records import Record
from surm_bench.run import loading
from surm_bench.tasks import TaskReader, check_metric
from surm_bench.tasks.labels import are_numbers, folded
from surm_bench.tasks.notices import tell
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
            the number, the names or the order of the classes differ from the run's.
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
    count = reader.config.num_labels
    if count != trained.num_labels:
        reason = f"task {config.task.name} has {count} labels, but the run was trained with {trained.num_labels}"
        raise UserError(f"{reason}: name a task with {trained.num_labels} labels")
    check_metric(reader.config)
    _check_classes(reader, config.task, trained)
    return replace(config, task=replace(reader.config, digest=reader.digest)), reader


def _check_classes(reader: TaskReader, task: TaskConfig, trained: TaskConfig) -> None:
    """Refuse a task whose classes have, or may have, other numbers than the classes of the run.

    Args:
        task: the task as configured; its label_names are not yet completed from the data.
    """
    names, known = reader.class_names, None if are_numbers(trained.label_names) else trained.label_names
    if names and known:
        _check_names(task.name, names, known)
    elif (names or known) and _training_rows(reader.digest) != _training_rows(trained.digest):
        _check_one_sided(task, names, known)


def _check_names(task: str, names: list[str], known: list[str]) -> None:
    """Compare the names of a task with those of the run. Names that have nothing in common may be other words."""
    looks, wanted = folded(names), folded(known)
    if looks == wanted or not {*looks} & {*wanted}:
        return
    if sorted(looks) != sorted(wanted):
        raise UserError(
            f"task {task} has the classes {', '.join(names)}, but the run was trained on {', '.join(known)}: name a "
            "task with the same classes"
        )
    order = [names[looks.index(look)] for look in wanted]
    raise UserError(
        f"task {task} orders its classes {', '.join(names)}, but the run orders them {', '.join(known)}: give "
        f"task.label_names=[{','.join(order)}]"
    )


def _check_one_sided(task: TaskConfig, names: list[str] | None, known: list[str] | None) -> None:
    """Refuse other training rows if only the task or only the run has names, unless task.label_names gives an order."""
    if task.label_names and not known:
        tell(f"the run has no names of classes: its class 0 is taken as {task.label_names[0]}, and so on")
    elif known:
        raise UserError(
            f"task {task.name} has classes without names, but the run names them {', '.join(known)}: if 0 means "
            f"{known[0]} and so on, give task.label_names=[{','.join(known)}]"
        )
    else:
        raise UserError(
            f"task {task.name} has the classes {', '.join(names)}, but the run has classes without names: give "
            "task.label_names=[...] with these names in the order of the run's classes"
        )


def _training_rows(digest: str) -> str:
    """Return the digest of the training rows, which are first; equal rows have equal numbers of classes."""
    return digest.partition("-")[0]


def _task(config: Config) -> dict:
    """Return the values of a configuration's task that determine the scores of a given model."""
    values = {key: value for key, value in identity(config).items() if key.startswith("task.")}
    return values | {"extra": config.task.extra_eval_splits}
