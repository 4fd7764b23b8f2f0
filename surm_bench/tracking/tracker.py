"""The interface of experiment trackers."""

from pathlib import Path
from typing import Any


class Tracker:
    """A receiver of metrics; this base class drops them."""

    def log(self, values: dict[str, Any], step: int) -> None:
        """Add one point to the curves; step counts optimiser steps."""

    def summary(self, values: dict[str, Any]) -> None:
        """Set the values that describe the whole run."""

    def link(self, record: Path) -> None:
        """Add the file with the record of the finished run."""

    def close(self, exit_code: int) -> None:
        """Finish the run; exit code 0 is a success."""
