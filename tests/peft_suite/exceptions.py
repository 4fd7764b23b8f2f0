"""The tests of PEFT that a method of ours cannot pass by its own nature. Each is expected to fail, and reported when it
does not, so that the list stays true."""

from typing import NamedTuple


class Exempt(NamedTuple):
    """Tests (a regular expression, matched from the start of the test's name) that fail for these methods (the names
    of their config classes)."""

    tests: str
    methods: tuple[str, ...]
    reason: str


EXCEPTIONS: list[Exempt] = []
