"""Declaration of a configuration's keys: meaning, default, valid values and part in the identity of a run together."""

import dataclasses
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

from surm_bench.config.bounds import check_bounds, may_be_none, shown
from surm_bench.errors import UserError, unknown

MISSING: Any = "???"  # omegaconf's mark of a value that must be given; its import takes time


class InId(Enum):
    """Whether the identity of a run contains a key (surm_bench.config.identity)."""

    NEVER = "no"  # names, labels, paths, convenience, and keys that change only the rounding
    ALWAYS = "yes"
    WHERE_READ = "where it has an effect"
    UNLESS_DEFAULT = "unless it is the default"  # a key added later: its default means "as before", so old ids stay
    DERIVED = "through a value derived from it"


def key(
    meaning: str,
    default: Any = MISSING,
    in_id: InId = InId.NEVER,
    *,
    only: Sequence[str] = (),
    choices: Sequence[str] = (),
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> Any:
    """Return a dataclass field for a key.

    Args:
        meaning: the text of the reference pages.
        default: the value without a setting; MISSING: each file of the group gives a value.
        in_id: whether the identity of a run contains the key.
        only: the values of the group's ``selector`` with which the key has an effect; empty: all values.
        choices: the valid values.
        least, above, below, most: bounds of a number, or of each number in a list: >=, >, <, <=.
    """
    bounds = {"at least": least, "above": above, "below": below, "at most": most}
    metadata = {"meaning": meaning, "in_id": in_id, "only": tuple(only), "choices": tuple(choices), "bounds": bounds}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Group:
    """A group of keys, such as ``optimizer``.

    Attributes:
        group: the name before the dot in a key.
        selector: the key whose value decides which other keys have an effect; empty: every key has an effect.
    """

    group = ""
    selector = ""

    def check(self) -> None:
        """Raise UserError for a value that is not possible, before any data or weights are read."""
        for field in dataclasses.fields(self):
            name, value, choices = f"{self.group}.{field.name}", getattr(self, field.name), field.metadata["choices"]
            if choices and value is not None and value not in choices:
                raise unknown(name, value, choices)
            check_bounds(name, value, field.metadata["bounds"], may_be_none(field))
            if not self._is_read(field) and not self._is_default(field):
                selected, only = getattr(self, self.selector), field.metadata["only"]
                raise UserError(
                    f"{self._shown(field.name)} has no effect with {self.group}.{self.selector}={selected}: only "
                    f"{' and '.join(only)} {'reads' if len(only) == 1 else 'read'} it"
                )

    def identity(self) -> Iterator[tuple[str, Any]]:
        """Yield the dotted keys that belong to the identity of a run, with their values."""
        for field in dataclasses.fields(self):
            in_id = field.metadata["in_id"]
            counts = in_id is InId.WHERE_READ or (in_id is InId.UNLESS_DEFAULT and not self._is_default(field))
            if in_id is InId.ALWAYS or (counts and self._is_read(field)):
                yield f"{self.group}.{field.name}", getattr(self, field.name)

    def _is_default(self, field: dataclasses.Field) -> bool:
        return canonical(getattr(self, field.name)) == canonical(default_of(field))

    def _is_read(self, field: dataclasses.Field) -> bool:
        only = field.metadata["only"]
        return not only or getattr(self, self.selector) in only

    def _shown(self, name: str) -> str:
        """Return a key with its value, as on a command line."""
        return f"{self.group}.{name}={shown(getattr(self, name))}"


def default_of(field: dataclasses.Field) -> Any:
    """Return the default of a key."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def of_known_fields(cls: type, values: dict[str, Any]) -> Any:
    """Return a dataclass made of values by field name; names that the class does not have are left out."""
    names = {field.name for field in dataclasses.fields(cls)}
    return cls(**{name: value for name, value in values.items() if name in names})


def canonical(value: Any) -> Any:
    """Return one form for equal values: 1 for 1 and 1.0, a list for a list and a tuple."""
    if isinstance(value, dict):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
