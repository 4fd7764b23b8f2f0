"""What a family of structured matrices computes: pure functions of generators. Nothing is stored or trained here."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor


class Cost(NamedTuple):
    """What one matrix costs, in counts that are the same on every device.

    product, gradient: by its own route, per token: N·log₂N summed over the real FFTs of length N, or multiply-adds.
    passes: over the entries of the dense matrix, to build it.
    outer: the cost of ``Algebra.outer`` in that of the plain gᵀ·x.
    """

    product: float
    gradient: float
    passes: float
    outer: float = 1


class Algebra(ABC):
    """The functions of a family of matrices of shape (out_features, in_features).

    *Parameters* are the tensors that are trained, by their names in ``start``. *Generators* are what the functions
    take: the few tensors, of O(n) numbers in all, in each of which the matrix is linear. Often they are the same.

    Needed are ``start``, ``dense`` and ``product``. To be fast a family also gives ``adjoint``, which autograd finds
    otherwise, and ``cost``, without which the rule that chooses a route takes the dense one.
    """

    out_features: int
    in_features: int
    own_route: ClassVar[str] = (
        "factored"  # how product multiplies: activations by "fft", or by two small factors, "factored"
    )

    @property
    def side(self) -> int:
        """The side n = max(out_features, in_features) of the square matrix whose leading block this is."""
        return max(self.out_features, self.in_features)

    @abstractmethod
    def start(self) -> dict[str, Tensor]:
        """New parameters by name, drawn where they are random, such that the matrix is zero and can be trained."""

    @property
    def num_spared(self) -> int:
        """How many fewer numbers serve the matrix than are trained; not zero where training overparametrises."""
        return 0

    def generators(self, *parameters: Tensor) -> tuple[Tensor, ...]:
        """The generators from the parameters, in the order of ``start``, differentiable."""
        return parameters

    def scaled(self, scale: float, *generators: Tensor) -> tuple[Tensor, ...]:
        """The generators of scale times the matrix."""
        *rest, last = generators
        return *rest, scale * last

    @abstractmethod
    def dense(self, *generators: Tensor) -> Tensor:
        """The matrix, shape (out_features, in_features), differentiable."""

    def outer(self, g: Tensor, x: Tensor) -> Tensor:
        """gᵀ·x, the gradient of Σ g·(M x) in M, (tokens, out_features) and (tokens, in_features); or any other matrix
        that has the same inner product with all members of the family."""
        return g.T @ x

    def prepare(self, *generators: Tensor) -> tuple[Tensor, ...]:
        """What ``product`` and ``adjoint`` need of the generators, a tensor for each, computed once for all tokens."""
        return generators

    def transform(self, x: Tensor) -> Tensor:
        """What ``product`` and ``adjoint`` take of x, (tokens, in_features); neither changes it."""
        return x

    @abstractmethod
    def product(self, x: Tensor, *prepared: Tensor) -> Tensor:
        """``x @ dense.T``, (tokens, out_features), without the dense matrix, from the transformed x."""

    def adjoint(
        self, x: Tensor, g: Tensor, wants_x: bool, *prepared: Tensor
    ) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        """The gradients of Σ g·(M x) in x, if wanted, and in the generators, from the transformed x and from g,
        (tokens, out_features). A family that prepares generators or transforms x gives its own."""
        with torch.enable_grad():
            leaves = [t.detach().requires_grad_() for t in (x, *prepared)]
            gradient, *gradients = torch.autograd.grad(self.product(*leaves), leaves, g)
        return gradient if wants_x else None, tuple(gradients)

    @property
    def cost(self) -> Cost | None:
        """What the routes cost; None is not known."""
        return None

    @property
    def values_per_token(self) -> int:
        """How many numbers a token has in the widest step of ``product``; decides how many are computed at once."""
        return self.out_features + self.in_features

    def nearest(self, matrix: Tensor) -> tuple[Tensor, ...]:
        """The parameters of the member closest to a dense matrix in Frobenius norm, in the order of ``start``.

        Raises:
            NotImplementedError: the family has no closed form.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no closed form for the nearest member: fit one by gradient descent on dense()"
        )
