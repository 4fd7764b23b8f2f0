"""The exception for invalid input from the user. The command line shows it as one line and exits with code 2."""

import difflib
from collections.abc import Iterable

FEW = 8  # choices that are read at one glance


class UserError(ValueError):
    """Invalid input. The message names the value and the valid choices, so the user needs no traceback."""


def unknown(kind: str, value: object, choices: Iterable[object]) -> UserError:
    """Return the error for a value outside a list: ``unknown key 'ful': choose from ...; did you mean full?``."""
    names = sorted(map(str, choices))
    near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.8) if len(names) > FEW else []
    guess = f"; did you mean {near[0]}?" if near else ""
    return UserError(f"unknown {kind} {value!r}: choose from {', '.join(names)}{guess}")
