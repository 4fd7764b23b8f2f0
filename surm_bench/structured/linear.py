"""Products with a structured matrix, each as a single autograd function that saves little memory for backward.

Only the input, the frozen weight and O(n) numbers of the matrix are saved; backward rebuilds the rest. There is no
second derivative. Plain operations take the place of these functions in a traced graph, and on a GPU where the dense
matrix serves the product and the gradient: they are fewer, but autograd then saves a dense matrix.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from surm_bench.structured.algebra import Algebra
from surm_bench.structured.chunks import by_chunks
from surm_bench.structured.precision import without_autocast
from surm_bench.structured.tracing import is_traced, prefers_few_operations


class Term(NamedTuple):
    """One structured matrix in a sum of dense matrices."""

    algebra: Algebra
    generators: Sequence[Tensor]
    gradient: str  # route of the generators' gradient: "dense" or the algebra's own route


def linear(x: Tensor, weight: Tensor | None, bias: Tensor | None, terms: list[Term]) -> Tensor:
    """Return ``x @ (weight + Σ dense).T + bias`` by one product, in x's dtype.

    Shapes: (..., in_features) → (..., out_features). weight and bias are frozen: they get no gradient. A sum in a wider
    dtype than x's is rounded to x's dtype, once.
    """
    shares = [(term.algebra, term.gradient, len(term.generators)) for term in terms]
    generators = [tensor for term in terms for tensor in term.generators]
    with without_autocast(x.device):
        if prefers_few_operations(x.device) and all(term.gradient == "dense" for term in terms):
            return F.linear(
                x, _total(shares, weight, generators).to(x.dtype), None if bias is None else bias.to(x.dtype)
            )
        return _Linear.apply(shares, x, weight, bias, *generators)


def own_product(algebra: Algebra, x: Tensor, generators: Sequence[Tensor]) -> Tensor:
    """Return ``x @ dense.T`` by the algebra's own route, computed in the generators' dtype, returned in x's dtype."""
    with without_autocast(x.device):
        if is_traced():
            rows = x.reshape(-1, x.shape[-1]).to(generators[0].dtype)
            y = algebra.product(algebra.transform(rows), *algebra.prepare(*generators))
            return y.reshape(*x.shape[:-1], algebra.out_features).to(x.dtype)
        return _OwnProduct.apply(algebra, x, *generators)


class _Linear(Function):
    @staticmethod
    def forward(
        ctx: Any, shares: list, x: Tensor, weight: Tensor | None, bias: Tensor | None, *generators: Tensor
    ) -> Tensor:
        ctx.shares = shares
        ctx.save_for_backward(x, weight, *generators)
        total = _total(shares, weight, generators)
        return F.linear(x, total.to(x.dtype), None if bias is None else bias.to(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, total, *generators = ctx.saved_tensors
        wants_x, wants = ctx.needs_input_grad[1], any(ctx.needs_input_grad[4:])
        rows, g_rows = x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])
        gradients: list[Tensor | None] = []
        with without_autocast(x.device):
            for algebra, route, own in _share(ctx.shares, generators):
                by_dense = wants and route == "dense"
                leaves = [tensor.detach().requires_grad_(by_dense) for tensor in own]
                if wants_x or by_dense:
                    with torch.set_grad_enabled(by_dense):
                        dense = algebra.dense(*leaves)
                    total = _plus(total, dense.detach()) if wants_x else None
                if by_dense:
                    gradients += torch.autograd.grad(dense, leaves, algebra.outer(g_rows, rows).to(dense.dtype))
                elif wants and rows.numel():
                    gradients += own_adjoint(algebra, rows, g_rows, False, algebra.prepare(*own), own[0].dtype)[1]
                else:
                    gradients += [torch.zeros_like(tensor) for tensor in own]
            gradient_x = (g_rows @ total.to(g.dtype)).view_as(x) if wants_x else None
        return None, gradient_x, None, None, *gradients


class _OwnProduct(Function):
    @staticmethod
    def forward(ctx: Any, algebra: Algebra, x: Tensor, *generators: Tensor) -> Tensor:
        ctx.algebra, ctx.dtype = algebra, generators[0].dtype
        prepared = algebra.prepare(*generators)
        ctx.save_for_backward(x, *prepared)

        def step(x: Tensor) -> tuple[Tensor, tuple[()]]:
            return algebra.product(algebra.transform(x.to(ctx.dtype)), *prepared).to(x.dtype), ()

        y, _ = by_chunks(algebra.values_per_token, step, x)
        assert y is not None
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, *prepared = ctx.saved_tensors
        with without_autocast(x.device):
            gradient_x, gradients = own_adjoint(ctx.algebra, x, g, ctx.needs_input_grad[1], prepared, ctx.dtype)
        return None, gradient_x, *gradients


def own_adjoint(
    algebra: Algebra, x: Tensor, g: Tensor, wants_x: bool, prepared: Sequence[Tensor], dtype: torch.dtype
) -> tuple[Tensor | None, list[Tensor]]:
    """Return the gradients of Σ g·(dense x) in x and in the generators, by the own route, computed in dtype."""

    def step(x: Tensor, g: Tensor) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        in_x, gradients = algebra.adjoint(algebra.transform(x.to(dtype)), g.to(dtype), wants_x, *prepared)
        return None if in_x is None else in_x.to(x.dtype), gradients

    return by_chunks(algebra.values_per_token, step, x, g)


def _total(shares: list, weight: Tensor | None, generators: Sequence[Tensor]) -> Tensor:
    """Return weight + Σ dense."""
    total = weight
    for algebra, _, own in _share(shares, generators):
        total = _plus(total, algebra.dense(*own))
    assert total is not None, "neither a weight nor a term"
    return total


def _share(shares: list, generators: Sequence[Tensor]) -> Iterator[tuple[Algebra, str, list[Tensor]]]:
    """Yield each algebra with its route and its generators."""
    remaining = iter(generators)
    return ((algebra, route, list(islice(remaining, count))) for algebra, route, count in shares)


def _plus(total: Tensor | None, part: Tensor) -> Tensor:
    return part if total is None else total + part
