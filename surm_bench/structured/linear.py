"""Products with a structured matrix, each as a single autograd function that saves little memory for backward.

Only the input, the frozen weight and the generators (O(n) numbers) are saved; backward rebuilds the rest. There is no
second derivative.
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
from surm_bench.structured.precision import without_autocast

# Numbers per thread in the widest step of a chunk of tokens. On a CPU a chunk fits into the cache of a core; on a GPU a
# chunk fills the GPU. A product by the matrix's own route takes this much memory in addition to its result.
CHUNK = {"cpu": 2**17, "cuda": 2**23}


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
    plan = [(term.algebra, term.gradient, len(term.generators)) for term in terms]
    with without_autocast(x.device):
        return _Linear.apply(plan, x, weight, bias, *(tensor for term in terms for tensor in term.generators))


def own_product(algebra: Algebra, x: Tensor, generators: Sequence[Tensor]) -> Tensor:
    """Return ``x @ dense.T`` by the algebra's own route, computed in the generators' dtype, returned in x's dtype."""
    with without_autocast(x.device):
        return _OwnProduct.apply(algebra, x, *generators)


class _Linear(Function):
    @staticmethod
    def forward(
        ctx: Any, plan: list, x: Tensor, weight: Tensor | None, bias: Tensor | None, *generators: Tensor
    ) -> Tensor:
        ctx.plan = plan
        ctx.save_for_backward(x, weight, *generators)
        total = weight
        for algebra, _, own in _share(plan, generators):
            total = _plus(total, algebra.dense(*own))
        assert total is not None, "neither a weight nor a term"
        return F.linear(x, total.to(x.dtype), None if bias is None else bias.to(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, total, *generators = ctx.saved_tensors
        wants_x, wants = ctx.needs_input_grad[1], any(ctx.needs_input_grad[4:])
        rows, g_rows = x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])
        gradients: list[Tensor | None] = []
        with without_autocast(x.device):
            for algebra, route, own in _share(ctx.plan, generators):
                by_dense = wants and route == "dense"
                leaves = [tensor.detach().requires_grad_(by_dense) for tensor in own]
                if wants_x or by_dense:
                    with torch.set_grad_enabled(by_dense):
                        dense = algebra.dense(*leaves)
                    total = _plus(total, dense.detach()) if wants_x else None
                if by_dense:
                    gradients += torch.autograd.grad(dense, leaves, algebra.outer(g_rows, rows).to(dense.dtype))
                else:
                    gradients += own_adjoint(algebra, rows, g_rows, False, own)[1] if wants else [None] * len(own)
            gradient_x = (g_rows @ total.to(g.dtype)).view_as(x) if wants_x else None
        return None, gradient_x, None, None, *gradients


class _OwnProduct(Function):
    @staticmethod
    def forward(ctx: Any, algebra: Algebra, x: Tensor, *generators: Tensor) -> Tensor:
        ctx.algebra = algebra
        ctx.save_for_backward(x, *generators)
        prepared = algebra.prepare(*generators)
        y = x.new_empty(*x.shape[:-1], algebra.out_features)
        for part, out in chunks(algebra, x, y):
            out.copy_(algebra.product(algebra.transform(part.to(generators[0].dtype)), *prepared))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, *generators = ctx.saved_tensors
        with without_autocast(x.device):
            gradient_x, gradients = own_adjoint(ctx.algebra, x, g, ctx.needs_input_grad[1], generators)
        return None, gradient_x, *gradients


def own_adjoint(
    algebra: Algebra, x: Tensor, g: Tensor, wants_x: bool, generators: Sequence[Tensor]
) -> tuple[Tensor | None, list[Tensor]]:
    """Return the gradients of Σ g·(dense x) in x and in the generators, by the own route, summed chunk by chunk."""
    prepared, dtype = algebra.prepare(*generators), generators[0].dtype
    gradient_x = torch.empty_like(x, memory_format=torch.contiguous_format) if wants_x else None
    totals = [torch.zeros_like(tensor) for tensor in generators]
    for part, g_part, out in chunks(algebra, x, g, x if gradient_x is None else gradient_x):
        in_x, gradients = algebra.adjoint(algebra.transform(part.to(dtype)), g_part.to(dtype), wants_x, *prepared)
        if in_x is not None:
            out.copy_(in_x)
        for total, gradient in zip(totals, gradients, strict=True):
            total += gradient
    return gradient_x, totals


def chunks(algebra: Algebra, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Split tensors of shape (..., width) into chunks of tokens; yield one (tokens, width) part of each tensor."""
    if tensors[0].numel() == 0:  # an FFT of an empty tensor is an error
        return iter(())
    device = tensors[0].device.type
    numbers = CHUNK.get(device, CHUNK["cuda"]) * (torch.get_num_threads() if device == "cpu" else 1)
    size = max(1, numbers // algebra.values_per_token)
    return zip(*(tensor.reshape(-1, tensor.shape[-1]).split(size) for tensor in tensors), strict=True)


def _share(plan: list, generators: Sequence[Tensor]) -> Iterator[tuple[Algebra, str, list[Tensor]]]:
    """Yield each algebra of the plan with its route and its generators."""
    remaining = iter(generators)
    return ((algebra, route, list(islice(remaining, count))) for algebra, route, count in plan)


def _plus(total: Tensor | None, part: Tensor) -> Tensor:
    return part if total is None else total + part
