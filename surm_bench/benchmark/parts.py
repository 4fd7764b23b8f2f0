"""The parts of the benchmark: each is measured into one frame and shown as one table, some parts also as a figure."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from surm_bench.benchmark import figures, growth, harness, layer, networks, numerics, tables, unit_costs
from surm_bench.benchmark.plan import BenchmarkPlan
from surm_bench.benchmark.setting import Setting
from surm_bench.report.tables import Table

LORA, HOUSLBY = "lora", "adapter_houlsby"


@dataclass(frozen=True)
class BenchmarkPart:
    """How to measure a part in one setting, and how to show the frame of all settings on one machine."""

    measure: Callable[[Setting, BenchmarkPlan], pd.DataFrame]
    table: Callable[[pd.DataFrame, BenchmarkPlan, str], Table]
    figure: Callable[[pd.DataFrame, Path], object] | None = None


def _layer(setting: Setting, plan: BenchmarkPlan) -> pd.DataFrame:
    return layer.layer_costs(setting, plan.side, plan.tokens, plan.layer_rounds, plan.layer_seconds)


def _networks(setting: Setting, plan: BenchmarkPlan) -> pd.DataFrame:
    return _training(setting, plan, plan.models, LORA, plan.structures)


def _residual(setting: Setting, plan: BenchmarkPlan) -> pd.DataFrame:
    return _training(setting, plan, plan.models[:1], HOUSLBY, ("adapter_circulant",))


def _training(
    setting: Setting, plan: BenchmarkPlan, models: tuple[str, ...], reference: str, adapters: tuple[str, ...]
) -> pd.DataFrame:
    frames = []
    for model in models:
        frame = networks.step_costs(
            setting, model, (reference, *adapters), reference, plan.batch, plan.rounds, plan.network_seconds
        )
        frames.append(frame.assign(model=model, reference=reference))
    return pd.concat(frames, ignore_index=True)


def _merged(setting: Setting, plan: BenchmarkPlan) -> pd.DataFrame:
    frames = [
        networks.merged_times(setting, model, "circulant", plan.batch, plan.rounds, plan.network_seconds).assign(
            model=model
        )
        for model in plan.models
    ]
    return pd.concat(frames, ignore_index=True)


def _width(setting: Setting, plan: BenchmarkPlan) -> pd.DataFrame:
    tokens = (plan.tokens_at_sides,)
    return growth.route_times(
        setting, plan.growth_structures, plan.sides, tokens, plan.growth_rounds, plan.growth_seconds
    )


def _tokens(setting: Setting, plan: BenchmarkPlan) -> pd.DataFrame:
    numbers = plan.numbers_of_tokens
    return growth.route_times(
        setting, plan.growth_structures, (plan.side,), numbers, plan.growth_rounds, plan.growth_seconds
    )


PARTS = {
    "layer": BenchmarkPart(
        _layer, lambda data, plan, on: tables.layer_table(data, plan.side, plan.tokens, on), figures.memory
    ),
    "networks": BenchmarkPart(_networks, lambda data, plan, on: tables.network_table(data, plan.batch, on)),
    "residual": BenchmarkPart(_residual, lambda data, plan, on: tables.network_table(data, plan.batch, on)),
    "merged": BenchmarkPart(_merged, lambda data, plan, on: tables.merged_table(data, on)),
    "harness": BenchmarkPart(
        lambda setting, plan: harness.run_times(plan.quick), lambda data, plan, on: tables.harness_table(data, on)
    ),
    "width": BenchmarkPart(
        _width, lambda data, plan, on: tables.growth_table(data, on), lambda d, path: figures.growth(d, "side", path)
    ),
    "tokens": BenchmarkPart(
        _tokens, lambda data, plan, on: tables.growth_table(data, on), lambda d, path: figures.growth(d, "tokens", path)
    ),
    "numerics": BenchmarkPart(
        lambda setting, plan: numerics.route_errors(setting.device, plan.numerics_sides),
        lambda data, plan, on: tables.numerics_table(data, on),
    ),
    "unit_costs": BenchmarkPart(
        lambda setting, plan: unit_costs.measured_unit_costs(setting.device, plan.unit_cost_sides, plan.rounds),
        lambda data, plan, on: tables.unit_cost_table(data, on),
    ),
}
IN_FP32 = ("harness", "width", "tokens", "numerics", "unit_costs")  # the other parts are measured in every setting
