"""Times of several cases that take turns, so that what else the machine does falls on all of them alike."""

import gc
import time
from collections.abc import Callable, Mapping

import pandas as pd
import torch


def take_turns(
    steps: Mapping[str, Callable[[], object]],
    device: str,
    rounds: int,
    seconds: float = float("inf"),
    warm_ups: int = 2,
) -> pd.DataFrame:
    """Seconds of every step in every round, a column a step.

    The steps run one after the other, every second round in reverse. On a GPU times are those of device events.

    Args:
        rounds: how many at most.
        seconds: of the wall clock after which no further round begins; three are run in any case.
        warm_ups: how often each step runs unmeasured before.
    """
    for step in steps.values():
        for _ in range(warm_ups):
            step()
    clock = _device_seconds if device == "cuda" else _wall_seconds
    names, rows, start = list(steps), [], time.perf_counter()
    gc.collect()
    gc.disable()
    try:
        while len(rows) < rounds and (len(rows) < 3 or time.perf_counter() - start < seconds):
            rows.append({name: clock(steps[name]) for name in names})
            names.reverse()
    finally:
        gc.enable()
    return pd.DataFrame(rows)[list(steps)]


def compare(times: pd.DataFrame, reference: str) -> pd.DataFrame:
    """A row a case: median milliseconds, the median over the rounds of its ratio to the reference, and the quartiles of
    that ratio."""
    ratios = times.div(times[reference], axis=0)
    return pd.DataFrame(
        {
            "ms": 1e3 * times.median(),
            "ratio": ratios.median(),
            "ratio_low": ratios.quantile(0.25),
            "ratio_high": ratios.quantile(0.75),
            "rounds": len(times),
        }
    ).rename_axis("case").reset_index()  # fmt: skip


def _wall_seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _device_seconds(step: Callable[[], object]) -> float:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    step()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3
