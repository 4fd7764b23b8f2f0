"""New measurements of the cost model's unit costs (``surm_bench.structured.routes``)."""

import pandas as pd
import torch
from torch import Tensor

from surm_bench.benchmark.plan import BenchmarkPlan
from surm_bench.benchmark.setting import Setting
from surm_bench.benchmark.timing import take_turns
from surm_bench.structured import STRUCTURES, Algebra, StructuredMatrix
from surm_bench.structured.linear import own_adjoint
from surm_bench.structured.routes import UNIT_COSTS

TOKENS = 2048
FILTERED = ("circulant", "toeplitz", "ldr")


def measured_unit_costs(setting: Setting, plan: BenchmarkPlan) -> pd.DataFrame:
    """Return one row per unit cost: the value in use, and median, lowest and highest measured value over the sides."""
    measured = pd.DataFrame([_at(setting.device, side, plan.rounds) for side in plan.unit_cost_sides])
    used = UNIT_COSTS[setting.device]._asdict()
    return pd.DataFrame(
        {"unit_cost": name, "used": used[name], "found": measured[name].median(), "low": measured[name].min(),
         "high": measured[name].max()}
        for name in used
    )  # fmt: skip


def _at(device: str, side: int, rounds: int) -> dict[str, float]:
    """Return all unit costs, from times at one side."""
    torch.manual_seed(0)
    x, g = torch.randn(2, TOKENS, side, device=device)
    half = x.bfloat16(), g.bfloat16()
    entries = side * side
    algebras = {name: STRUCTURES[name](side, side) for name in (*FILTERED, "kronecker", "low_rank")}
    generators = {name: _generators(algebra, device) for name, algebra in algebras.items()}

    def correlation(name: str):
        prepared = algebras[name].prepare(*generators[name])
        return lambda: own_adjoint(algebras[name], x, g, False, prepared, torch.float32)

    def build(name: str):
        return lambda: _built(algebras[name], generators[name])

    with torch.no_grad():
        one = torch.ones(1, device=device)
        steps = {"product": lambda: g.T @ x, "half": lambda: half[1].T @ half[0], "launch": lambda: one + one}
        steps |= {f"{name} gradient": correlation(name) for name in algebras}
        steps |= {f"{name} build": build(name) for name in FILTERED}
        times = take_turns(steps, device, rounds).median()
    unit = times["product"] / (TOKENS * entries)  # seconds of one multiply-add

    def per_token(name: str) -> float:
        return times[f"{name} gradient"] / TOKENS / unit

    value = (per_token("low_rank") - algebras["low_rank"].cost.gradient) / (2 * side)
    reading = 2 * side * value
    fft = [(per_token(name) - reading) / algebras[name].cost.gradient for name in FILTERED]
    entry = [times[f"{name} build"] / unit / (algebras[name].cost.passes * entries) for name in FILTERED]
    return {
        "fft": sum(fft) / len(fft),
        "factored": (per_token("kronecker") - reading) / algebras["kronecker"].cost.gradient,
        "value": value,
        "entry": sum(entry) / len(entry),
        "half": times["half"] / times["product"],
        "launch": times["launch"] / unit,
    }


def _generators(algebra: Algebra, device: str) -> list[Tensor]:
    return [t.detach() for t in StructuredMatrix(algebra).to(device).generators(torch.float32)]


def _built(algebra: Algebra, generators: list[Tensor]) -> Tensor:
    """Return the dense matrix plus 1; the sum stands for a layer's sum of the dense matrix and its weight."""
    return algebra.dense(*generators) + 1
