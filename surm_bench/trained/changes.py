"""Changes of a finished run's settings: another data set, other paths, other evaluation options. No torch here."""

from collections.abc import Sequence
from dataclasses import replace

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from surm_bench.config import Config
from surm_bench.config.composition import KEYS_HINT, check_choices, editable, resolved, typed, value_of
from surm_bench.config.places import with_quotes
from surm_bench.errors import UserError
from surm_bench.hub import check_reach

CHANGEABLE = ("model.weights", "trainer.eval_batch_size", "trainer.precision", "trainer.device", "trainer.workers")


def changed_config(config: Config, overrides: Sequence[str]) -> Config:
    """Return a run's configuration with overrides such as ``task=glue/rte`` or ``task.data_dir=folder``.

    A change of the task removes the digest that the run declares, so that other rows are accepted. A task that is named
    has the digest of its own file.

    Raises:
        UserError: an override has no effect on evaluation or is refused by the configuration, the task has another kind
            or number of labels, or the hub is needed and out of reach.
    """
    changed = _changed(config, overrides)
    for key in ("kind", "num_labels"):
        now, before = getattr(changed.task, key), getattr(config.task, key)
        if now not in (before, None):  # None: the classes of an image folder are counted later
            raise UserError(
                f"task {changed.task.name} has {key} {now!r}, but the run was trained with {before!r}: "
                "name another task"
            )
    check_reach(changed)
    return changed


def _changed(config: Config, overrides: Sequence[str]) -> Config:
    overrides = [with_quotes(override) for override in overrides]
    for override in overrides:
        key, given, _ = override.partition("=")
        if not given or not (key in CHANGEABLE or key == "task" or key.startswith("task.")):
            raise UserError(
                f"{override!r} cannot be changed after training: "
                f"give task=NAME, task.KEY=…, {'=…, '.join(CHANGEABLE)}=…"
            )
    of_task = [override for override in overrides if override.startswith("task")]
    if of_task:
        config = config.having(task={"digest": None})
    if any(override.startswith("task=") for override in of_task):
        check_choices(of_task)
        config = replace(config, task=resolved(of_task).task)
        overrides = [override for override in overrides if override not in of_task]
    config = config.having(trainer={"device": None})  # the training machine's device
    try:
        changed = editable(config)
        for override in overrides:
            OmegaConf.update(changed, override.partition("=")[0], value_of(override))
        return typed(changed)
    except OmegaConfBaseException as error:
        raise UserError(f"{str(error).splitlines()[0]} ({KEYS_HINT})") from None
