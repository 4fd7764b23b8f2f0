"""Runs that are being trained: who trains them, and how far the state on disk is. No torch here."""

import json
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from surm_bench.records.claim import FILE, holder

STATE = Path("state") / "state.safetensors"  # as surm_bench.training.state writes it


class Running(NamedTuple):
    """A run that a living process holds.

    Attributes:
        step: the optimiser steps of the saved state, a minute old at most; 0 where none is saved yet.
    """

    run_id: str
    pid: int
    host: str
    since: str
    step: int


def running(folder: Path) -> list[Running]:
    """The runs below a folder that are being trained, ordered by id."""
    found = []
    for path in sorted(folder.glob(f"runs/*/{FILE}")):
        if held := holder(path.parent):
            where = (held["pid"], held["host"], held["since"])
            found.append(Running(path.parent.name, *where, saved_step(path.parent)))
    return found


def saved_step(run: Path) -> int:
    """The optimiser steps of the state that a run's folder holds; 0 where there is none."""
    try:
        with safe_open(run / STATE, "numpy") as file:
            return json.loads(file.metadata()["state"])["position"]["step"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):  # none yet, or it is being replaced
        return 0
