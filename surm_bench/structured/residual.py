"""A structured residual adapter as a single autograd function that saves no activation but its input."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from surm_bench.structured.algebra import Algebra
from surm_bench.structured.chunks import by_chunks
from surm_bench.structured.linear import own_product
from surm_bench.structured.precision import without_autocast
from surm_bench.structured.tracing import is_traced


def residual(
    algebra: Algebra,
    generators: Sequence[Tensor],
    activation: Callable[[Tensor], Tensor],
    y: Tensor,
    x: Tensor,
    bias: Tensor,
) -> Tensor:
    """Return ``y + activation(dense @ x) + bias`` by the algebra's own route.

    The result is computed in the generators' dtype and has y's dtype. Every chunk of tokens goes through all steps
    while it is in the cache. y may be x itself. There is no second derivative.
    """
    with without_autocast(x.device):
        bias = bias.to(generators[0].dtype)
        if is_traced():
            return (y + activation(own_product(algebra, x.to(bias.dtype), generators)) + bias).to(y.dtype)
        return _Residual.apply(algebra, activation, None if y is x else y, x, bias, *generators)


class _Residual(Function):
    @staticmethod
    def forward(
        ctx: Any,
        algebra: Algebra,
        activation: Callable,
        y: Tensor | None,
        x: Tensor,
        bias: Tensor,
        *generators: Tensor,
    ) -> Tensor:
        ctx.algebra, ctx.activation, ctx.separate, ctx.dtype = algebra, activation, y is not None, bias.dtype
        prepared = algebra.prepare(*generators)
        ctx.save_for_backward(x, *prepared)

        def step(x: Tensor, y: Tensor) -> tuple[Tensor, tuple[()]]:
            answer = activation(algebra.product(algebra.transform(x.to(ctx.dtype)), *prepared))
            return answer.add_(bias).add_(y).to(y.dtype), ()

        y = x if y is None else y
        total, _ = by_chunks(algebra.values_per_token, step, x, y)
        assert total is not None
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, *prepared = ctx.saved_tensors
        algebra, wants_x = ctx.algebra, ctx.needs_input_grad[3]

        def step(x: Tensor, g: Tensor) -> tuple[Tensor | None, tuple[Tensor, ...]]:
            dtype, x, g = x.dtype, algebra.transform(x.to(ctx.dtype)), g.to(ctx.dtype)
            z = algebra.product(x, *prepared).requires_grad_()
            with torch.enable_grad():
                (g_inner,) = torch.autograd.grad(ctx.activation(z), z, g)
            in_x, gradients = algebra.adjoint(x, g_inner, wants_x, *prepared)
            if in_x is not None:
                in_x = (in_x if ctx.separate else in_x.add_(g)).to(dtype)
            return in_x, (g.sum(0), *gradients)

        with without_autocast(x.device):
            gradient_x, gradients = by_chunks(algebra.values_per_token, step, x, g)
        return None, None, g if ctx.separate else None, gradient_x, *gradients
