"""The points that a run has logged, in a file: a process that continues the run sends W&B the earlier ones again.

W&B shows of a run only the curves of the upload that came last. It can also append an upload to a run
(resume="allow"), but then a file that is sent a second time, after an interruption, leaves its points twice.
"""

import json
import math
from pathlib import Path

from surm_bench.system.atomic import atomic

Values = dict[str, float]


def first_repeated(values: Values, step: int) -> int:
    """Return the step from which a process repeats points, by the first values that it logs.

    A process that begins with an evaluation continues from a state that was saved after the loss of this step.
    """
    return step if "train/loss" in values else step + 1


class Points:
    """The points of all processes of a run, one line of JSON each: [step, values]."""

    def __init__(self, file: Path) -> None:
        self._file, self._is_read = file, False

    def add(self, values: Values, step: int) -> list[tuple[int, Values]]:
        """Add a point; return what to send: this point, and before the first one those that it does not repeat."""
        earlier = self.earlier(first_repeated(values, step))
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps([step, values])}\n")
        return [*earlier, (step, values)]

    def earlier(self, before: float = math.inf) -> list[tuple[int, Values]]:
        """Return the points of earlier processes before a step and forget the others; nothing at a second call."""
        if self._is_read:
            return []
        self._is_read = True
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []
        whole = [json.loads(line) for line in lines if line.endswith("]")]  # a line that a kill cut off ends elsewhere
        kept = [(step, values) for step, values in whole if step < before]
        if len(kept) < len(lines):
            with atomic(self._file) as temporary:
                temporary.write_text("".join(f"{json.dumps(point)}\n" for point in kept), encoding="utf-8")
        return kept
