"""Bounds of numbers, which the fields of configurations declare."""

import operator
from collections.abc import Mapping
from dataclasses import Field
from numbers import Real
from typing import Any, get_args

from surm_bench.errors import UserError

BOUNDS = {"at least": operator.ge, "above": operator.gt, "below": operator.lt, "at most": operator.le}


def check_bounds(name: str, value: Any, bounds: Mapping[str, float | None], null: bool = False) -> None:
    """Refuse a value, or a list with a value, that is not a number within its bounds. NaN is within no bounds.

    Args:
        name: how the message names the value.
        bounds: a key of BOUNDS -> the limit; None: no limit.
        null: whether None is valid.

    Raises:
        UserError: a value has bounds and is not a number within them.
    """
    given = {words: limit for words, limit in bounds.items() if limit is not None}
    values = value if isinstance(value, list | tuple) else [value]
    if not given or (null and value is None):
        return
    numbers = all(isinstance(number, Real) for number in values)
    if numbers and all(BOUNDS[words](number, limit) for number in values for words, limit in given.items()):
        return
    each = "each " if isinstance(value, list | tuple) else ""
    limits = " and ".join(f"{words} {limit:g}" for words, limit in given.items())
    raise UserError(f"{name}={shown(value)} is not possible: {each}{limits}{', or null' if null else ''}")


def may_be_none(field: Field) -> bool:
    """Return whether the type of a dataclass's field allows None."""
    return type(None) in get_args(field.type)


def shown(value: Any) -> str:
    """Return a value as on a command line: ``true`` for True, ``null`` for None, ``[a,b]`` for a list."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"[{','.join(map(shown, value))}]" if isinstance(value, list | tuple) else str(value)
