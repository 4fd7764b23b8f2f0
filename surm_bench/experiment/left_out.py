"""Leave out the tasks and adapters of an experiment that cannot be run, so that the rest can still be run."""

from collections.abc import Callable
from itertools import chain

from surm_bench.config import composition
from surm_bench.errors import UserError
from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.jobs import as_overrides, budget, task_overrides
from surm_bench.experiment.search import first_trials

ROW_KEYS = ("adapter=", "adapter.", "optimizer=", "optimizer.")  # the keys that a row of the table may set


def leave_out(experiment: Experiment) -> list[str]:
    """Remove the tasks and adapters that cannot be run, and return a line for each of them."""
    tasks, adapters, owners = experiment.tasks, experiment.adapters, {}
    problems = _remove(tasks, lambda name: _check_column(tasks[name]))
    problems += _remove(adapters, lambda name: _check_row(adapters[name]))
    composition.read_files(chain(experiment.overrides, *tasks.values(), *adapters.values()))
    problems += _remove(tasks, lambda name: _check_steps(experiment, name))
    return problems + _remove(adapters, lambda name: _check_labels(experiment, name, owners))


def _remove(entries: dict[str, list[str]], check: Callable[[str], None]) -> list[str]:
    """Remove the entries that a check refuses, and return a line for each of them."""
    problems = []
    for name in list(entries):
        try:
            check(name)
        except UserError as error:
            del entries[name]
            problems.append(f"{name} left out: {error}")
    return problems


def _check_column(overrides: list[str]) -> None:
    for override in overrides:
        if override.startswith(("adapter=", "adapter.")):
            raise UserError(f"it has the override {override}: give it to an adapter instead")
    composition.check_choices(overrides)


def _check_row(overrides: list[str]) -> None:
    for override in overrides:
        if not override.lstrip("+").startswith(ROW_KEYS):
            raise UserError(f"it has the override {override}: an adapter may only have {', '.join(ROW_KEYS)}")
    composition.check_choices(overrides)


def _check_steps(experiment: Experiment, task: str) -> None:
    """Raise UserError if a task is not valid, or its number of steps does not fit the rule of tuning."""
    tuning, steps = experiment.tuning, composition.resolved(task_overrides(experiment, task)).trainer.max_steps
    if steps is not None and steps < 1:
        raise UserError(f"trainer.max_steps={steps} is not possible: at least 1, or null")
    if (tuning.steps or tuning.survivors) and steps is None:
        raise UserError("tuning.steps and tuning.survivors count optimiser steps: give trainer.max_steps")
    allowed = budget(experiment, task)
    for adapter in experiment.adapters:
        left = allowed.left(first_trials(experiment.settings(adapter), tuning.survivors))
        if allowed.steps and left < 0:
            needed = f"{allowed.steps - left:,}"
            raise UserError(
                f"tuning.steps={tuning.steps:,} is not possible: the first values of {adapter} take {needed}"
            )


def _check_labels(experiment: Experiment, adapter: str, owners: dict[str, str]) -> None:
    """Raise UserError if an adapter's configuration is not valid, or if another adapter has its label.

    Args:
        owners: the adapter of each label; the labels of this adapter are added.
    """
    rows = [[*experiment.adapters[adapter], *as_overrides(setting)] for setting in experiment.settings(adapter)]
    labels = {composition.resolved(overrides).adapter.label for overrides in rows}  # a knob may change the label
    for label in sorted(labels & owners.keys()):
        raise UserError(f"{owners[label]} has its label {label!r}, too: give one of the two another adapter.label")
    owners |= dict.fromkeys(labels, adapter)
