"""Refuse invalid values of a configuration before anything reads them. No torch here."""

import math
import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from surm_bench.config import Config, TrainerConfig
from surm_bench.config.methods import method_of
from surm_bench.config.places import PLACES, check_place
from surm_bench.errors import UserError, unknown

NAMES = ("model.name", "task.name", "adapter.name")
KINDS = {"text": "text", "image": "vision"}  # the family of models for each kind of task
NAME = re.compile(r"[\w+-][\w.+-]*(/[\w+-][\w.+-]*)*")  # a word, or several with / between; no .. and no absolute path


def plain(cfg: DictConfig) -> dict:
    """Return a composed configuration, or some of its groups, as dicts and lists with resolved references.

    Raises:
        UserError: a number that is not finite or too large for 64 bits, an empty path, a name that could lead out of
            a folder, or an environment variable outside of paths. Records are published and contain all values except
            paths.
    """
    for key, value in _leaves(OmegaConf.to_container(cfg, resolve=False)):
        if isinstance(value, str) and "oc.env" in value and key not in PLACES:
            raise UserError(f"{key}={value} would write an environment variable into records: {_paths()} may have one")
    config = OmegaConf.to_container(cfg, resolve=True)
    for key, value in _leaves(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{key}={value} is not possible: give a finite number")
        if isinstance(value, int) and abs(value) >= 2**63:
            raise UserError(f"{key}={value} is not possible: no whole number here has more than 64 bits")
        if key in PLACES:
            check_place(key, value)
        if key in NAMES and isinstance(value, str) and not NAME.fullmatch(value):
            raise UserError(f"{key}={value!r} is not possible: letters, digits, _, -, + and ., in parts divided by /")
    return config


def check_family(config: Config) -> None:
    """Refuse a text model for images, a vision model for text, and unknown kinds of tasks."""
    if config.task.kind not in KINDS:
        raise unknown("task.kind", config.task.kind, KINDS)
    wanted = KINDS[config.task.kind]
    if wanted != config.model.family:
        raise UserError(
            f"task {config.task.name} is of kind {config.task.kind!r}, model {config.model.name} of family "
            f"{config.model.family!r}: choose a {wanted} model"
        )


def check_scored_batches(config: Config) -> None:
    """Refuse another evaluation batch size if predictions depend on it: run ids do not contain this size."""
    size, only = config.trainer.eval_batch_size, TrainerConfig().eval_batch_size
    if method_of(config.adapter.peft).mixes_examples and size != only:
        raise UserError(
            f"trainer.eval_batch_size={size} is not possible with {config.adapter.name}, whose predictions depend on "
            f"it: leave it at {only}"
        )


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value with its dotted key, such as ``adapter.peft.r``."""
    if isinstance(node, dict | list):
        for name, inner in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, node


def _paths() -> str:
    return ", ".join(PLACES)
