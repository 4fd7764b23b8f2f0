"""Refuse values that are not possible for any key: numbers outside JSON, names that leave a folder, secrets."""

import math
import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from surm_bench.config.places import PLACES, check_place
from surm_bench.errors import UserError

NAME_KEYS = ("model.name", "task.name", "adapter.name")
# A word, or several words with / between: no .. and no absolute path.
VALID_NAME = re.compile(r"[\w+-][\w.+-]*(/[\w+-][\w.+-]*)*")


def plain(cfg: DictConfig) -> dict:
    """Return a composed configuration, or some of its groups, as dicts and lists with resolved references.

    Raises:
        UserError: a number that is not finite or too large for 64 bits, an empty path, a name that could lead out of
            a folder, or an environment variable outside of paths. Records are published and contain all values except
            paths.
    """
    for key, value in _leaves(OmegaConf.to_container(cfg, resolve=False)):
        if isinstance(value, str) and "oc.env" in value and key not in PLACES:
            raise UserError(
                f"{key}={value} would put an environment variable into records: only {', '.join(PLACES)} may do so"
            )
    config = OmegaConf.to_container(cfg, resolve=True)
    for key, value in _leaves(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{key}={value} is not possible: give a finite number")
        if isinstance(value, int) and abs(value) >= 2**63:
            raise UserError(f"{key}={value} is not possible: give a whole number of at most 64 bits")
        if key in PLACES:
            check_place(key, value)
        if key in NAME_KEYS and isinstance(value, str) and not VALID_NAME.fullmatch(value):
            raise UserError(f"{key}={value!r} is not possible: use letters, digits, _, -, +, . and /")
    return config


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value with its dotted key, such as ``adapter.peft.r``."""
    if isinstance(node, dict | list):
        for name, inner in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, node
