"""The one exception that means 'the user asked for something impossible': shown as one line, exit code 2."""

from collections.abc import Iterable


class UserError(ValueError):
    """Bad input: its message names the value and the valid choices, and is all the user needs to see."""


def unknown(kind: str, value: object, choices: Iterable[object]) -> UserError:
    """The error for a value outside a closed list: ``unknown adapter 'circulent': choose from circulant, ...``."""
    return UserError(f"unknown {kind} {value!r}: choose from {', '.join(sorted(map(str, choices)))}")
