"""The module that owns the parameters of a structured matrix; its algebra computes everything else."""

from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor, nn

from surm_bench.structured.algebra import Algebra
from surm_bench.structured.linear import Term, linear, own_product
from surm_bench.structured.precision import product_dtype, without_autocast
from surm_bench.structured.routes import Plan, check_route, choose_route
from surm_bench.structured.tracing import is_traced


class StructuredMatrix(nn.Module):
    """A trainable matrix of shape (out_features, in_features) that starts at zero.

    Args:
        algebra: a structure of a given shape, or a sum or product of structures. It names the parameters.
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
        """The count of trained numbers."""
        return sum(p.numel() for p in self.parameters())

    @property
    def num_stored(self) -> int:
        """The count of numbers that must be stored to serve the matrix."""
        return self.num_parameters - self.algebra.num_spared

    @torch.no_grad()
    def assign(self, values: Iterable[Tensor]) -> None:
        """Set the parameters to the given values, in the order of the algebra's start."""
        for parameter, value in zip(self.parameters(), values, strict=True):
            parameter.copy_(value)

    def dense(self) -> Tensor:
        """Return the matrix, shape (out_features, in_features), differentiable in the parameters, fp32 or wider."""
        parameters = self._parameters_as(torch.float32)
        with without_autocast(parameters[0].device):
            return self.algebra.dense(*self.algebra.generators(*parameters))

    def generators(self, dtype: torch.dtype, scale: float = 1.0) -> tuple[Tensor, ...]:
        """Return the generators of scale times the matrix, in dtype or wider, computed with autocast off."""
        parameters = self._parameters_as(dtype)
        with without_autocast(parameters[0].device):
            generators = self.algebra.generators(*parameters)
            return generators if scale == 1 else self.algebra.scaled(scale, *generators)

    def forward(self, x: Tensor, route: str | None = None, scale: float = 1.0) -> Tensor:
        """Multiply by scale times the matrix: (..., in_features) → (..., out_features), in x's dtype.

        The structure's own route widens half precision, of x or of the parameters, to fp32, also under autocast. The
        reasons: a CPU has no half-precision FFT, and a rounded FFT loses more than it saves. The dense route builds the
        matrix in fp32 and rounds it once to the precision of the product, which is x's or autocast's.

        Args:
            route: "auto", "dense" or the structure's own route, which is the default.

        Raises:
            ValueError: the width of x is not in_features, or the route does not exist.
        """
        if x.shape[-1] != self.in_features:  # an FFT would crop or pad it silently
            raise ValueError(f"an input of width {x.shape[-1]} does not fit in_features={self.in_features}")
        plan = self.plan(x, route)
        if x.numel() == 0:  # an FFT of an empty tensor is an error
            return x.new_zeros(*x.shape[:-1], self.out_features)
        generators = self.generators(torch.promote_types(x.dtype, torch.float32), scale)
        if plan.product != "dense":
            return own_product(self.algebra, x, generators)
        return linear(x.to(product_dtype(x)), None, None, [Term(self.algebra, generators, plan.gradient)]).to(x.dtype)

    def plan(self, x: Tensor, route: str | None = None, merged: bool = False) -> Plan:
        """Return the routes by which forward computes with x: the named route; for "auto", the cost rule's choice.

        Args:
            merged: whether the dense matrix is added to a frozen weight, whose product is computed in any case.

        Raises:
            ValueError: the route does not exist.
        """
        route = route or self.algebra.own_route
        check_route(self.algebra, route)
        if route != "auto":
            return Plan(route, route)
        if is_traced():  # a graph serves any number of tokens
            return Plan("dense", "dense")
        half = product_dtype(x).itemsize < 4
        return choose_route(self.algebra, x.shape[:-1].numel(), x.device.type, merged, half)

    @classmethod
    def nearest(cls, algebra: Algebra, matrix: Tensor) -> Self:
        """Return the member closest to a dense matrix in Frobenius norm, in fp32 or wider.

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
        """Return the parameters, widened to dtype if they are narrower.

        They are read by name for two reasons: a replica of torch's DataParallel holds plain tensors instead of
        parameters, and the value of a parametrised parameter differs from its original.
        """
        parameters = [getattr(self, name) for name in self._names]
        return [p.to(torch.promote_types(p.dtype, dtype)) for p in parameters]

    def extra_repr(self) -> str:
        return repr(self.algebra)
