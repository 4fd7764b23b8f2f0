"""The parts of the benchmark: each is measured into one frame and shown as one table, some parts also as a figure."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from surm_bench.benchmark import figures, growth, harness, layer, networks, numerics, tables, unit_costs
from surm_bench.benchmark.plan import Plan
from surm_bench.benchmark.setting import Setting
from surm_bench.report.tables import Table

LORA, HOUSLBY = "lora", "adapter_houlsby"


@dataclass(frozen=True)
class Part:
    """How to measure a part in one setting, and how to show the frame of all settings on one machine."""

    measure: Callable[[Setting, Plan], pd.DataFrame]
    table: Callable[[pd.DataFrame, Plan, str], Table]
    figure: Callable[[pd.DataFrame, Path], object] | None = None


def _layer(setting: Setting, plan: Plan) -> pd.DataFrame:
    return layer.measure(setting, plan.side, plan.tokens, plan.layer_rounds, plan.layer_seconds)


def _networks(setting: Setting, plan: Plan) -> pd.DataFrame:
    return _training(setting, plan, plan.models, LORA, plan.structures)


def _residual(setting: Setting, plan: Plan) -> pd.DataFrame:
    return _training(setting, plan, plan.models[:1], HOUSLBY, ("adapter_circulant",))


def _training(
    setting: Setting, plan: Plan, models: tuple[str, ...], reference: str, adapters: tuple[str, ...]
) -> pd.DataFrame:
    frames = []
    for model in models:
        frame = networks.measure(
            setting, model, (reference, *adapters), reference, plan.batch, plan.rounds, plan.network_seconds
        )
        frames.append(frame.assign(model=model, reference=reference))
    return pd.concat(frames, ignore_index=True)


def _merged(setting: Setting, plan: Plan) -> pd.DataFrame:
    frames = [
        networks.measure_merged(setting, model, "circulant", plan.batch, plan.rounds, plan.network_seconds).assign(
            model=model
        )
        for model in plan.models
    ]
    return pd.concat(frames, ignore_index=True)


def _width(setting: Setting, plan: Plan) -> pd.DataFrame:
    tokens = (plan.tokens_at_sides,)
    return growth.measure(setting, plan.growth_structures, plan.sides, tokens, plan.growth_rounds, plan.growth_seconds)


def _tokens(setting: Setting, plan: Plan) -> pd.DataFrame:
    numbers = plan.numbers_of_tokens
    return growth.measure(
        setting, plan.growth_structures, (plan.side,), numbers, plan.growth_rounds, plan.growth_seconds
    )


PARTS = {
    "layer": Part(_layer, lambda data, plan, on: tables.layer_table(data, plan.side, plan.tokens, on), figures.memory),
    "networks": Part(_networks, lambda data, plan, on: tables.network_table(data, plan.batch, on)),
    "residual": Part(_residual, lambda data, plan, on: tables.network_table(data, plan.batch, on)),
    "merged": Part(_merged, lambda data, plan, on: tables.merged_table(data, on)),
    "harness": Part(
        lambda setting, plan: harness.measure(plan.quick), lambda data, plan, on: tables.harness_table(data, on)
    ),
    "width": Part(
        _width, lambda data, plan, on: tables.growth_table(data, on), lambda d, path: figures.growth(d, "side", path)
    ),
    "tokens": Part(
        _tokens, lambda data, plan, on: tables.growth_table(data, on), lambda d, path: figures.growth(d, "tokens", path)
    ),
    "numerics": Part(
        lambda setting, plan: numerics.measure(setting.device, plan.numerics_sides),
        lambda data, plan, on: tables.numerics_table(data, on),
    ),
    "unit_costs": Part(
        lambda setting, plan: unit_costs.measure(setting.device, plan.unit_cost_sides, plan.rounds),
        lambda data, plan, on: tables.unit_cost_table(data, on),
    ),
}
IN_FP32 = ("harness", "width", "tokens", "numerics", "unit_costs")  # the other parts are measured in every setting
