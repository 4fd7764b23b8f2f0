"""The module that owns the parameters of a structured matrix; all else is asked of its algebra."""

from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor, nn

from surm_bench.structured.algebra import Algebra
from surm_bench.structured.linear import Term, linear, own_product
from surm_bench.structured.precision import product_dtype, without_autocast
from surm_bench.structured.routes import Plan, check_route, choose_route


class StructuredMatrix(nn.Module):
    """A trainable matrix of shape (out_features, in_features) that starts at zero.

    Args:
        algebra: a structure of some shape, or a sum or product of them. Its parameters get the names that it gives.
    """

    def __init__(self, algebra: Algebra):
        super().__init__()
        self.algebra = algebra
        start = algebra.start()
        self._names = tuple(start)
        for name, value in start.items():
            self.register_parameter(name, nn.Parameter(value))

    @property
    def out_features(self) -> int:
        return self.algebra.out_features

    @property
    def in_features(self) -> int:
        return self.algebra.in_features

    @property
    def num_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(p.numel() for p in self.parameters())

    @property
    def num_stored(self) -> int:
        """How many numbers have to be kept to serve the matrix."""
        return self.num_parameters - self.algebra.num_spared

    def reset_parameters(self) -> None:
        """Draw the parameters anew; the matrix is zero again."""
        self.assign(self.algebra.start().values())

    @torch.no_grad()
    def assign(self, values: Iterable[Tensor]) -> None:
        """Set the parameters to other values, in the order of the algebra's start."""
        for parameter, value in zip(self.parameters(), values, strict=True):
            parameter.copy_(value)

    def dense(self) -> Tensor:
        """The matrix itself, shape (out_features, in_features), differentiable in the parameters, fp32 or wider."""
        parameters = self._parameters_as(torch.float32)
        with without_autocast(parameters[0].device):
            return self.algebra.dense(*self.algebra.generators(*parameters))

    def generators(self, dtype: torch.dtype, scale: float = 1.0) -> tuple[Tensor, ...]:
        """The generators of scale times the matrix, in dtype or wider, autocast off."""
        parameters = self._parameters_as(dtype)
        with without_autocast(parameters[0].device):
            generators = self.algebra.generators(*parameters)
            return generators if scale == 1 else self.algebra.scaled(scale, *generators)

    @torch.compiler.disable  # hand-written, and planned by the number of tokens: nothing is left to compile
    def forward(self, x: Tensor, route: str | None = None, scale: float = 1.0) -> Tensor:
        """Multiply by scale times the matrix: (..., in_features) → (..., out_features), in x's dtype.

        By the structure's own route half precision, of x or of the parameters, is widened to fp32, also under
        autocast: there is no half-precision FFT on a CPU, and a rounded one loses more than it saves. By the dense
        route, the matrix is built in fp32 and rounded to the precision of the product, x's or autocast's, once.

        Args:
            route: "auto", "dense" or the structure's own, which is the default.

        Raises:
            ValueError: x has another width than in_features, or there is no such route.
        """
        if x.shape[-1] != self.in_features:  # an FFT would crop or pad it silently
            raise ValueError(f"an input of width {x.shape[-1]} does not fit in_features={self.in_features}")
        plan = self.plan(x, route)
        if x.numel() == 0:  # no FFT of nothing
            return x.new_zeros(*x.shape[:-1], self.out_features)
        generators = self.generators(torch.promote_types(x.dtype, torch.float32), scale)
        if plan.product != "dense":
            return own_product(self.algebra, x, generators)
        return linear(x.to(product_dtype(x)), None, None, [Term(self.algebra, generators, plan.gradient)]).to(x.dtype)

    def plan(self, x: Tensor, route: str | None = None, merged: bool = False) -> Plan:
        """How forward computes with x: a named route as it is, "auto" by the cost rule.

        Args:
            merged: whether the dense matrix is added to a frozen weight, whose product is computed in any case.

        Raises:
            ValueError: there is no such route.
        """
        route = route or self.algebra.own_route
        check_route(self.algebra, route)
        if route != "auto":
            return Plan(route, route)
        half = product_dtype(x).itemsize < 4
        return choose_route(self.algebra, x.shape[:-1].numel(), x.device.type, merged, half)

    @classmethod
    def nearest(cls, algebra: Algebra, matrix: Tensor) -> Self:
        """The member closest to a dense matrix in Frobenius norm, in fp32 or wider.

        Args:
            matrix: shape (out_features, in_features).

        Raises:
            NotImplementedError: the family has no closed form.
        """
        matrix = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
        member = cls(algebra).to(matrix)
        member.assign(algebra.nearest(matrix))
        return member

    def _parameters_as(self, dtype: torch.dtype) -> list[Tensor]:
        """The parameters, widened to dtype at least, by name: a replica of torch's DataParallel has them as plain
        tensors, and the value of a parametrised one is not its original."""
        parameters = [getattr(self, name) for name in self._names]
        return [p.to(torch.promote_types(p.dtype, dtype)) for p in parameters]

    def extra_repr(self) -> str:
        return repr(self.algebra)
