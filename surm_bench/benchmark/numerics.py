"""Every route against fp64: relative errors of the product and of its gradients."""

import pandas as pd
import torch
from torch import Tensor

from surm_bench.benchmark.plan import STRUCTURED, BenchmarkPlan
from surm_bench.benchmark.setting import Setting
from surm_bench.structured import STRUCTURES, StructuredMatrix

TOKENS = 64


def route_errors(setting: Setting, plan: BenchmarkPlan) -> pd.DataFrame:
    """Return one row per structure, side and route with ‖computed − exact‖ / ‖exact‖.

    The errors are those of the product M·x, of the gradient in x and of the worst gradient in the parameters. computed
    is fp32; exact is fp64 by the structure's other route.
    """
    rows = []
    for structure in STRUCTURED:
        for side in plan.numerics_sides:
            torch.manual_seed(0)
            matrix = StructuredMatrix(STRUCTURES[structure](side, side)).to(setting.device)
            for parameter in matrix.parameters():
                torch.nn.init.normal_(parameter)
            x, g = torch.randn(2, TOKENS, side, device=setting.device)
            computed = {route: _answers(matrix, route, x, g) for route in ("dense", matrix.algebra.own_route)}
            matrix = matrix.double()
            exact = {route: _answers(matrix, route, x.double(), g.double()) for route in computed}
            for route, other in zip(computed, reversed(computed), strict=True):
                errors = [_error(a, b) for a, b in zip(computed[route], exact[other], strict=True)]
                row = {"structure": structure, "side": side, "route": route}
                rows.append(row | {"forward": errors[0], "gradient_x": errors[1], "gradient": max(errors[2:])})
    return pd.DataFrame(rows)


def _answers(matrix: StructuredMatrix, route: str, x: Tensor, g: Tensor) -> list[Tensor]:
    x = x.detach().requires_grad_()
    y = matrix(x, route)
    return [y.detach(), *torch.autograd.grad(y, [x, *matrix.parameters()], g)]


def _error(computed: Tensor, exact: Tensor) -> float:
    return ((computed.double() - exact).norm() / exact.norm()).item()
