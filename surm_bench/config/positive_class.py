"""The positive class of F1: task.positive_class, or class 1 as in GLUE. No torch here."""

from surm_bench.config.task import TaskConfig
from surm_bench.errors import UserError, unknown

OF_CLASS = ("f1_accuracy", "f1")  # the values of task.metric with a positive class
DEFAULT = 1


def positive_class(task: TaskConfig) -> int | None:
    """Return the number of the positive class of a task; None if the metric of the task has no positive class.

    Raises:
        UserError: the task has no class of this name or number, or its metric has no positive class.
    """
    given, names = task.positive_class, task.label_names or []
    if task.metric not in OF_CLASS:
        if given is not None:
            raise UserError(
                f"task.positive_class={given} has no effect with task.metric={task.metric}: "
                f"only {' and '.join(OF_CLASS)} read it"
            )
        return None
    if given is None or given in names:
        return DEFAULT if given is None else names.index(given)
    numbers = [str(number) for number in range(task.num_labels or 2)]
    if given not in numbers:
        raise unknown("task.positive_class", given, names or numbers)
    return int(given)


def named_class(task: TaskConfig) -> str | None:
    """Return the positive class for a record: its name, or its number if the classes have no names.

    Raises:
        UserError: as positive_class.
    """
    number, names = positive_class(task), task.label_names
    return None if number is None else (names[number] if names else str(number))


def shown_metric(task: TaskConfig) -> str:
    """Return the name of the primary metric for tables. F1 names its class, except class 1 without a name: ``f1``."""
    given, names = task.positive_class, task.label_names
    if task.primary_metric != "f1":
        return task.primary_metric
    shown = given or (names[DEFAULT] if names else str(DEFAULT))
    return "f1" if shown == str(DEFAULT) else f"f1 of class {shown}"
