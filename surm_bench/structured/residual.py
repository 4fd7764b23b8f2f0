"""A structured residual adapter as a single autograd function that saves no activation but its input."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from surm_bench.structured.algebra import Algebra
from surm_bench.structured.linear import chunks
from surm_bench.structured.precision import without_autocast


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
        ctx.algebra, ctx.activation, ctx.separate = algebra, activation, y is not None
        ctx.save_for_backward(x, bias, *generators)
        y, dtype = x if y is None else y, bias.dtype
        prepared = algebra.prepare(*generators)
        total = torch.empty_like(y, memory_format=torch.contiguous_format)
        for x_part, y_part, out in chunks(algebra, x, y, total):
            answer = activation(algebra.product(algebra.transform(x_part.to(dtype)), *prepared))
            out.copy_(answer.add_(bias).add_(y_part))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, bias, *generators = ctx.saved_tensors
        algebra, dtype = ctx.algebra, bias.dtype
        wants_x = ctx.needs_input_grad[3]
        gradient_x = torch.empty_like(x, memory_format=torch.contiguous_format) if wants_x else None
        totals = [torch.zeros_like(tensor) for tensor in (bias, *generators)]
        with without_autocast(x.device):
            prepared = algebra.prepare(*generators)
            for x_part, g_part, out in chunks(algebra, x, g, x if gradient_x is None else gradient_x):
                x_part, g_part = algebra.transform(x_part.to(dtype)), g_part.to(dtype)
                z = algebra.product(x_part, *prepared).requires_grad_()
                with torch.enable_grad():
                    (g_inner,) = torch.autograd.grad(ctx.activation(z), z, g_part)
                in_x, gradients = algebra.adjoint(x_part, g_inner, wants_x, *prepared)
                if in_x is not None:
                    out.copy_(in_x if ctx.separate else in_x.add_(g_part))
                for total, gradient in zip(totals, (g_part.sum(0), *gradients), strict=True):
                    total += gradient
        return None, None, g if ctx.separate else None, gradient_x, *totals
