"""The parts of the benchmark: each is measured into one frame and shown as one table, some parts also as a figure."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from surm_bench.benchmark import figures, growth, harness, layer, networks, numerics, tables, unit_costs
from surm_bench.benchmark.plan import BenchmarkPlan
from surm_bench.benchmark.setting import Setting
from surm_bench.report.tables import Table


@dataclass(frozen=True)
class BenchmarkPart:
    """How to measure a part in one setting, and how to show the frame of all settings on one machine."""

    measure: Callable[[Setting, BenchmarkPlan], pd.DataFrame]
    table: Callable[[pd.DataFrame, BenchmarkPlan, str], Table]
    figure: Callable[[pd.DataFrame, Path], object] | None = None


PARTS = {
    "layer": BenchmarkPart(layer.layer_costs, tables.layer_table, figures.memory),
    "networks": BenchmarkPart(networks.delta_costs, tables.network_table),
    "residual": BenchmarkPart(networks.residual_costs, tables.network_table),
    "merged": BenchmarkPart(networks.merged_times, tables.merged_table),
    "harness": BenchmarkPart(harness.run_times, tables.harness_table),
    "width": BenchmarkPart(growth.over_sides, tables.growth_table, partial(figures.growth, against="side")),
    "tokens": BenchmarkPart(growth.over_tokens, tables.growth_table, partial(figures.growth, against="tokens")),
    "numerics": BenchmarkPart(numerics.route_errors, tables.numerics_table),
    "unit_costs": BenchmarkPart(unit_costs.measured_unit_costs, tables.unit_cost_table),
}
IN_FP32 = ("harness", "width", "tokens", "numerics", "unit_costs")  # the other parts are measured in every setting
