"""An experiment is data: tasks × adapters × seeds, and the settings that tuning tries for every adapter.

The chosen settings are derived from the records of the tuning runs.
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
    """The rule by which the setting of each adapter on each task is chosen, equal for all adapters.

    With ``finalists`` every run has full length (surm_bench.experiment.coordinate_search). Without ``finalists`` the
    settings form a grid, and short trials may choose a part of the grid (surm_bench.experiment.search).
    """

    seeds: list[int] = MISSING  # never reported; each seed holds out different rows if the split allows it
    # Adapter key ("default": all adapters not named) -> knob -> values. {}: not tuned, its overrides set everything.
    knobs: dict[str, dict[str, list[float]]] = MISSING
    steps: int | None = None  # optimiser steps that an adapter may use on a task; null: the steps of the first values
    survivors: int | None = None  # try the first values for a third of the steps, and this number of them in full
    finalists: int | None = None  # try one knob after the other on the first seed, and this number of settings on all


@dataclass
class Experiment:
    """A table of runs to make. Overrides are written as on the command line; keys name rows and columns in files and
    messages.

    An adapter's overrides define the adapter and its optimiser; the protocol is equal for all adapters.
    """

    name: str = MISSING
    overrides: list[str] = field(default_factory=list)  # for every run; overrides of a task or an adapter win
    tasks: dict[str, list[str]] = MISSING
    adapters: dict[str, list[str]] = MISSING
    seeds: list[int] = MISSING  # reported seeds; empty if the tasks are variants of a protocol, compared by tuning
    tuning: Tuning = MISSING
    best_epoch: list[str] = field(default_factory=list)  # adapters whose row shows the score of the best epoch

    def knobs(self, adapter: str) -> Knobs:
        """Return the knobs of an adapter, with the values tried first."""
        return self.tuning.knobs.get(adapter, self.tuning.knobs.get("default", {}))

    def settings(self, adapter: str) -> list[Setting]:
        """Return the settings tried first: every combination of the values of the knobs.

        With finalists: the values of the first knob, then the other values of each further knob at the middle value of
        the first knob.
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
        """Return the experiment with only these adapters, in the order of the file; with all adapters if none is named.

        Raises:
            UserError: a row is unknown.
        """
        for row in rows:
            if row not in self.adapters:
                raise unknown(f"row of {self.name}", row, self.adapters)
        return replace(self, adapters={row: self.adapters[row] for row in self.adapters if row in rows or not rows})

    @property
    def untuned(self) -> list[str]:
        """The adapters without knobs: tuning chooses nothing for these adapters."""
        return [adapter for adapter in self.adapters if not self.knobs(adapter)]
