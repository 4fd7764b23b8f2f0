"""What a run sends to its tracker."""

from typing import Any


class Tracker:
    """Where metrics go; this one drops them."""

    def log(self, values: dict[str, Any], step: int) -> None:
        """Add one point to the curves; step counts optimiser steps."""

    def summary(self, values: dict[str, Any]) -> None:
        """Set values that describe the whole run."""

    def close(self, exit_code: int) -> None:
        """Finish the run; 0 is a success."""
