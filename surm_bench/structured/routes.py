"""The cost rule, which chooses how a structured product and the gradient of its parameters are computed.

All routes give the same numbers up to rounding. The route *dense* builds the matrix in O(n²) and multiplies by it. If
the matrix changes a frozen weight that multiplies the same input (no dropout comes before the matrix alone), the matrix
is added to the weight first, and one product is enough. Every structure has this route and an own route: *fft*
transforms the activations, *factored* multiplies them by two small factors. The own route of a sum or product is
*parts*: each part multiplies by its own route; its cost is not known, so the rule takes *dense* there. The gradient may
take another route than the product: by *dense*, the gradient is one large product gᵀ·x and a sum over n² entries; by
the own route, it is a correlation of g and x, token by token.

Costs are counted in multiply-adds of a large fp32 matrix product on the same device, so the rule holds for slower and
faster machines of the same kind.
"""

from typing import NamedTuple

import torch

from surm_bench.structured.algebra import Algebra


class Plan(NamedTuple):
    """The routes of the product (forward, and backward to the input) and of the parameters' gradient."""

    product: str
    gradient: str


class UnitCosts(NamedTuple):
    """The costs of operations, each as the number of multiply-adds of a large fp32 matrix product in the same time."""

    fft: float  # one unit N·log₂N of an FFT, including the products of spectra
    factored: float  # one multiply-add with a small factor
    value: float  # one number of x or g, read once
    entry: float  # one entry of a dense matrix, in one pass
    half: float  # one multiply-add of a large product in half precision
    launch: float  # one operation, however small; on a CPU the other costs contain it


def multiplies_bf16() -> bool:
    """Return whether the CPU has bf16 instructions; without them a bf16 product is at best as fast as in fp32."""
    there = torch.cpu.get_capabilities()
    return bool(there.get("avx512_bf16") or there.get("amx_bf16"))


UNIT_COSTS = {
    # Measured by ``make bench`` (results/performance/unit_costs.md) on an AMD EPYC, n = 256 … 4096: values
    # between the measurements on one thread and on two threads.
    "cpu": UnitCosts(fft=5.5, factored=1.5, value=22, entry=85, half=0.27 if multiplies_bf16() else 1, launch=0),
    # Not measured: computed from the bandwidth (4.8 TB/s) and the peak rates (fp32: 33.5 · 10¹² multiply-adds per
    # second) that NVIDIA states for an H200, and 10 µs for each operation that PyTorch dispatches.
    "cuda": UnitCosts(fft=10, factored=3, value=25, entry=100, half=0.08, launch=3.35e8),
}


def routes(algebra: Algebra | type[Algebra]) -> tuple[str, str, str]:
    """Return the valid names of a route."""
    return "auto", "dense", algebra.own_route


def check_route(algebra: Algebra | type[Algebra], route: str) -> None:
    """Refuse a route that the algebra does not have.

    Raises:
        ValueError: the message names the valid routes.
    """
    if route not in routes(algebra):
        raise ValueError(f"unknown route {route!r}: choose from {', '.join(routes(algebra))}")


def choose_route(algebra: Algebra, tokens: int, device: str, merged: bool, half: bool) -> Plan:
    """Return the cheapest plan for one training step of a layer; the dense plan if the cost is not known.

    Args:
        algebra: read for its shape and its cost.
        tokens: rows of x.
        device: type of the device; a type without unit costs takes the unit costs of "cuda".
        merged: whether the dense matrix is added to a frozen weight, whose product is computed in any case.
        half: whether the matrix products, but not the other routes, are in half precision.
    """
    costs = UNIT_COSTS.get(device, UNIT_COSTS["cuda"])
    own, cost = algebra.own_route, algebra.cost
    if cost is None:
        return Plan("dense", "dense")
    unit = costs.fft if own == "fft" else costs.factored
    entries = algebra.out_features * algebra.in_features
    reading = costs.value * (algebra.out_features + algebra.in_features)
    large = tokens * entries * (costs.half if half else 1)
    cpu = device == "cpu"
    build = costs.entry * cost.passes * entries + (0 if cpu else cost.multiplied)
    launches = costs.launch * cost.operations
    product = {  # forward and backward; the dense matrix is built in both
        "dense": 2 * build + (0 if merged else 2 * large),
        own: 2 * tokens * (unit * cost.product + reading) + launches,
    }
    gradient = {
        "dense": (cost.outer if cpu else 1) * large + 2 * build,
        own: tokens * (unit * cost.gradient + reading) + launches,
    }
    return Plan(min(product, key=product.__getitem__), min(gradient, key=gradient.__getitem__))
