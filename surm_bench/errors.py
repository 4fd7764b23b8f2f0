"""The exception for invalid input from the user. The command line shows it as one line and exits with code 2."""

from collections.abc import Iterable


class UserError(ValueError):
    """Invalid input. The message names the value and the valid choices, so the user needs no traceback."""


def unknown(kind: str, value: object, choices: Iterable[object]) -> UserError:
    """Return the error for a value outside a list of choices: ``unknown adapter 'circulent': choose from ...``."""
    return UserError(f"unknown {kind} {value!r}: choose from {', '.join(sorted(map(str, choices)))}")
