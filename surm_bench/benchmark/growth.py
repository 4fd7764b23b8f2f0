"""The growth of each route's time with the width of a layer and with the number of tokens."""

from collections.abc import Sequence
from itertools import product

import pandas as pd
import torch

from surm_bench.benchmark.layer import REFERENCE, case_name, cases, step_of
from surm_bench.benchmark.plan import BenchmarkPlan
from surm_bench.benchmark.setting import Setting
from surm_bench.benchmark.timing import compare, take_turns
from surm_bench.structured import STRUCTURES
from surm_bench.structured.routes import routes


def over_sides(setting: Setting, plan: BenchmarkPlan) -> pd.DataFrame:
    """Return the times of the routes at each side of the plan."""
    return route_times(setting, plan, plan.sides, (plan.tokens_at_sides,))


def over_tokens(setting: Setting, plan: BenchmarkPlan) -> pd.DataFrame:
    """Return the times of the routes at each number of tokens of the plan."""
    return route_times(setting, plan, (plan.side,), plan.numbers_of_tokens)


def route_times(setting: Setting, plan: BenchmarkPlan, sides: Sequence[int], tokens: Sequence[int]) -> pd.DataFrame:
    """Return one row per side, number of tokens, structure and route: milliseconds, and ratio to LoRA r=8.

    LoRA r=8 has rows as a structure of its own. The time limit of the plan holds for each pair of side and number.
    """
    rows = []
    for side, number in product(sides, tokens):
        torch.manual_seed(0)
        x = torch.randn(number, side, device=setting.device, requires_grad=True)
        g = torch.randn(number, side, device=setting.device)
        wanted = [REFERENCE, *(case_name(s, route) for s in plan.growth_structures for route in routes(STRUCTURES[s]))]
        makers = cases(side)
        steps = {case: step_of(setting.place(makers[case]()), x, g, setting) for case in wanted}
        measured = compare(take_turns(steps, setting.device, plan.growth_rounds, plan.growth_seconds), REFERENCE)
        parts = measured["case"].str.rsplit(", ", n=1, expand=True)
        measured.insert(0, "side", side)
        measured.insert(1, "tokens", number)
        measured.insert(2, "structure", parts[0].where(measured["case"] != REFERENCE, "lora"))
        measured.insert(3, "route", parts[1].where(measured["case"] != REFERENCE, ""))
        rows.append(measured.drop(columns="case"))
    return pd.concat(rows, ignore_index=True)
