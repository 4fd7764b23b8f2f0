"""An experiment is data: tasks × adapters × seeds, and the settings that tuning tries for every adapter.

What tuning chose is derived from the records of its runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from omegaconf import MISSING

from surm_bench.errors import unknown

Setting = tuple[tuple[str, float], ...]  # (key, value) of every knob
Knobs = dict[str, list[float]]


@dataclass
class Tuning:
    """How the settings of each adapter on each task are chosen, alike for all adapters.

    With ``finalists`` every run has full length (surm_bench.experiment.coordinate_search). Without it settings are a
    grid, of which short trials may choose a part (surm_bench.experiment.search).
    """

    seeds: list[int] = MISSING  # apart from the reported ones; each holds other rows out where the split allows it
    # Adapter key ("default": those not named) -> knob -> values. {}: not tuned, all it has stands in its overrides.
    knobs: dict[str, dict[str, list[float]]] = MISSING
    steps: int | None = None  # optimiser steps that an adapter may use on a task; null: what the first values take
    survivors: int | None = None  # of the first values, tried for a third of the steps, so many are tried in full
    finalists: int | None = None  # settings are tried on the first seed, one knob after the other; so many on all seeds


@dataclass
class Experiment:
    """What is run. Overrides are those of the command line; keys name rows and columns in files and messages.

    An adapter's overrides say what the adapter and its optimiser are; the protocol is the same for all of them.
    """

    name: str = MISSING
    overrides: list[str] = field(default_factory=list)  # for every run; a task, and a row, may say otherwise
    tasks: dict[str, list[str]] = MISSING
    adapters: dict[str, list[str]] = MISSING
    seeds: list[int] = MISSING  # reported; none where the tasks are variants of a protocol to be compared by tuning
    tuning: Tuning = MISSING
    best_epoch: list[str] = field(default_factory=list)  # adapters whose row shows the score of the best epoch

    def knobs(self, adapter: str) -> Knobs:
        """The knobs of an adapter, and the values tried first."""
        return self.tuning.knobs.get(adapter, self.tuning.knobs.get("default", {}))

    def settings(self, adapter: str) -> list[Setting]:
        """The settings tried first: every combination of the values of the knobs.

        With finalists: the values of the first knob, then the others of each further knob at the middle of the first.
        """
        knobs = self.knobs(adapter)
        grid = [tuple(zip(knobs, map(float, values), strict=True)) for values in product(*knobs.values())]
        if not self.tuning.finalists or not knobs:
            return grid
        first, *others = knobs.values()
        defaults = [float(values[0]) for values in others]
        middle = float(first[len(first) // 2])

        def along(setting: Setting) -> bool:
            value, *rest = (value for _, value in setting)
            changed = sum(one != default for one, default in zip(rest, defaults, strict=True))
            return changed == 0 or (changed == 1 and value == middle)

        return sorted(filter(along, grid), key=lambda setting: [value for _, value in setting][1:] != defaults)

    def of_rows(self, rows: Sequence[str]) -> "Experiment":
        """The same with these adapters alone, in the order of the file; all of them where none is named.

        Raises:
            UserError: a row that there is not.
        """
        for row in rows:
            if row not in self.adapters:
                raise unknown(f"row of {self.name}", row, self.adapters)
        return replace(self, adapters={row: self.adapters[row] for row in self.adapters if row in rows or not rows})

    @property
    def untuned(self) -> list[str]:
        """The adapters without knobs: nothing is chosen for them."""
        return [adapter for adapter in self.adapters if not self.knobs(adapter)]

    @property
    def rule(self) -> str:
        """How settings are chosen, in words."""
        if self.tuning.finalists:
            return (
                "Setting of each adapter on each task, by runs of full length scored after the last step on training "
                "rows held out: the values of the first knob on the first tuning seed, and more of them while the best "
                "is at an end; the other values of each further knob at the best setting; values halfway to the better "
                "neighbour, until every adapter of the task has been given as many settings; the best "
                f"{self.tuning.finalists} of these on all tuning seeds, whose mean chooses. No tuning seed is reported."
            )
        halved = (
            f" The first values are tried for a third of the steps, the best {self.tuning.survivors} of them in full."
            if self.tuning.survivors
            else ""
        )
        wider = (
            f" While the best is at the end of a range the range grows, up to {self.tuning.steps:,} steps in all."
            if self.tuning.steps
            else ""
        )
        return (
            "Setting of each adapter on each task: the one with the best mean score after the last step on training "
            f"rows held out, over tuning seeds that are not reported.{halved}{wider}"
        )
