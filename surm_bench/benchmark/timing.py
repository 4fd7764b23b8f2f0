"""Times of several cases that take turns, so that other load on the machine affects all cases alike."""

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
    """Return the seconds of every step in every round, one column per step.

    The steps run one after the other, in reverse order every second round. On a GPU the times come from device events.

    Args:
        steps: the steps by name.
        device: "cpu" or "cuda".
        rounds: the largest number of rounds.
        seconds: the wall-clock time after which no further round starts; at least three rounds are run.
        warm_ups: the number of unmeasured runs of each step before the first round.
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
    """Return one row per case: median milliseconds, and the ratio to the reference.

    The ratio is taken in each round; a row has its median and quartiles over the rounds.
    """
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
