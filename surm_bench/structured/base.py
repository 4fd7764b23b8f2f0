"""What every structure answers: product, dense form, counts and, where it is closed, the nearest member."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from surm_bench.structured.linear import Term, linear, own_product, without_autocast
from surm_bench.structured.routes import Plan, Work, choose_route


class StructuredMatrix(nn.Module, ABC):
    """A trainable matrix of shape (out_features, in_features) that starts at zero.

    A rectangular member of a square family is the leading block of the square matrix of side
    ``n = max(out_features, in_features)``: pad, multiply, crop.

    A subclass gives pure functions of its *generators*, the few tensors, of O(n) numbers in all, in each of which the
    matrix is linear: ``_dense`` and ``_matmul``, and to be fast ``_adjoint`` too, which autograd finds otherwise, and
    ``work``, without which the rule that chooses a route takes the dense one.

    Args:
        out_features: rows, at least 1.
        in_features: columns, at least 1.

    Raises:
        ValueError: a size below 1, or options that the sizes do not allow.
    """

    own_route: ClassVar[str] = "factored"  # what _matmul is: a product of activations by "fft", or "factored" in two

    def __init__(self, out_features: int, in_features: int):
        super().__init__()
        if out_features < 1 or in_features < 1:
            raise ValueError(f"a matrix of {out_features}×{in_features} is not possible: both sizes are at least 1")
        self.out_features = out_features
        self.in_features = in_features

    @property
    def side(self) -> int:
        """The side n of the square matrix whose leading block this is."""
        return max(self.out_features, self.in_features)

    @property
    def num_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(p.numel() for p in self.parameters())

    @property
    def num_stored(self) -> int:
        """How many numbers have to be kept to serve the matrix; fewer than trained when training overparametrises."""
        return self.num_parameters

    @property
    def work(self) -> Work:
        """What the routes cost, for the rule that chooses one."""
        return Work(product=math.inf, gradient=math.inf, passes=1)

    @property
    def values_per_token(self) -> int:
        """How many numbers a token has in the widest step of ``_matmul``; decides how many are computed at once."""
        return self.out_features + self.in_features

    def _generators(self, *parameters: Tensor) -> tuple[Tensor, ...]:
        """The generators from the parameters in the order of their registration; autograd takes this way back."""
        return parameters

    @abstractmethod
    def _dense(self, *generators: Tensor) -> Tensor:
        """The matrix, shape (out_features, in_features), differentiable."""

    def _outer(self, g: Tensor, x: Tensor) -> Tensor:
        """gᵀ·x, the gradient of Σ g·(M x) in M, (tokens, out_features) and (tokens, in_features); or any other matrix
        that has the same inner product with all members of the family."""
        return g.T @ x

    def _prepare(self, *generators: Tensor) -> tuple[Tensor, ...]:
        """What ``_matmul`` and ``_adjoint`` need of the generators, computed once for all tokens."""
        return generators

    def _transform(self, x: Tensor) -> Tensor:
        """What ``_matmul`` and ``_adjoint`` take of x, (tokens, in_features); neither changes it."""
        return x

    @abstractmethod
    def _matmul(self, x: Tensor, *prepared: Tensor) -> Tensor:
        """``x @ dense().T``, (tokens, out_features), without the dense matrix, from the transformed x."""

    def _adjoint(
        self, x: Tensor, g: Tensor, wants_x: bool, *prepared: Tensor
    ) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        """The gradients of Σ g·(dense() x) in x, if wanted, and in the generators, from the transformed x and from
        g, (tokens, out_features)."""
        with torch.enable_grad():
            leaves = [t.detach().requires_grad_() for t in (x, *prepared)]
            gradient, *gradients = torch.autograd.grad(self._matmul(*leaves), leaves, g)
        return gradient if wants_x else None, tuple(gradients)

    @classmethod
    def routes(cls) -> tuple[str, str, str]:
        """What a route may be asked for."""
        return "auto", "dense", cls.own_route

    @abstractmethod
    def reset_parameters(self) -> None:
        """Draw the parameters anew; the product stays zero."""

    def dense(self) -> Tensor:
        """The matrix itself, shape (out_features, in_features), differentiable in the parameters, fp32 or wider."""
        parameters = self._parameters_as(torch.float32)
        with without_autocast(parameters[0].device):
            return self._dense(*self._generators(*parameters))

    def generators(self, dtype: torch.dtype, scale: float = 1.0) -> list[Tensor]:
        """The generators of scale times the matrix, in dtype or wider, autocast off."""
        parameters = self._parameters_as(dtype)
        with without_autocast(parameters[0].device):
            *rest, last = self._generators(*parameters)
            return [*rest, last if scale == 1 else scale * last]

    @torch.compiler.disable  # hand-written, and planned by the number of tokens: nothing is left to compile
    def forward(self, x: Tensor, route: str | None = None, scale: float = 1.0) -> Tensor:
        """Multiply by scale times the matrix: (..., in_features) → (..., out_features), in x's dtype.

        By the structure's own route half precision, of x or of the parameters, is widened to fp32, also under
        autocast: there is no half-precision FFT on a CPU, and a rounded one loses more than it saves. By the dense
        route, the matrix is built in fp32 and rounded to the precision of the product, x's or autocast's, once.

        Args:
            route: "auto", "dense" or the structure's own, which is the default.

        Raises:
            ValueError: x has another width than in_features.
        """
        if x.shape[-1] != self.in_features:  # an FFT would crop or pad it silently
            raise ValueError(f"an input of width {x.shape[-1]} does not fit in_features={self.in_features}")
        if x.numel() == 0:  # no FFT of nothing
            return x.new_zeros(*x.shape[:-1], self.out_features)
        generators, plan = self.generators(torch.promote_types(x.dtype, torch.float32), scale), self.plan(x, route)
        if plan.product != "dense":
            return own_product(self, x, generators)
        return linear(x.to(product_dtype(x)), None, None, [Term(self, generators, plan.gradient)]).to(x.dtype)

    def plan(self, x: Tensor, route: str | None = None, merged: bool = False) -> Plan:
        """How forward computes with x: a named route as it is, "auto" by the cost rule.

        Args:
            merged: whether the dense matrix is added to a frozen weight, whose product is computed in any case.
        """
        if route != "auto":
            return Plan(route or self.own_route, route or self.own_route)
        return choose_route(self, x.shape[:-1].numel(), x.device.type, merged, half=product_dtype(x).itemsize < 4)

    def _parameters_as(self, dtype: torch.dtype) -> list[Tensor]:
        """The parameters, widened to dtype at least."""
        return [p.to(torch.promote_types(p.dtype, dtype)) for p in self.parameters()]

    @classmethod
    def nearest(cls, matrix: Tensor, **options) -> "StructuredMatrix":
        """The member closest to a dense matrix in Frobenius norm, in fp32 or wider.

        Args:
            matrix: shape (out_features, in_features).
            options: those of the constructor.

        Raises:
            NotImplementedError: the family has no closed form.
        """
        matrix = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
        member = cls(*matrix.shape, **options).to(matrix)
        with torch.no_grad():
            member._project(matrix)
        return member

    def _project(self, matrix: Tensor) -> None:
        """Set the parameters to those of the nearest member."""
        raise NotImplementedError(
            f"{type(self).__name__} has no closed form for the nearest member: fit one by gradient descent on dense()"
        )

    def extra_repr(self) -> str:
        return f"out_features={self.out_features}, in_features={self.in_features}"


class VectorPair(StructuredMatrix):
    """A product of two matrices, each given by a vector of length n: a drawn, b zero, so that the product is zero and
    the gradient reaches b at the first step (the start of SURM's released code)."""

    def __init__(self, out_features: int, in_features: int, init_std: float):
        super().__init__(out_features, in_features)
        self.init_std = init_std
        self.a = nn.Parameter(torch.empty(self.side))
        self.b = nn.Parameter(torch.empty(self.side))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.a, std=self.init_std)
        nn.init.zeros_(self.b)


def product_dtype(x: Tensor) -> torch.dtype:
    """What a matrix product with x is computed in."""
    device = x.device.type
    autocast = device != "meta" and torch.is_autocast_enabled(device) and x.dtype == torch.float32
    return torch.get_autocast_dtype(device) if autocast else x.dtype
