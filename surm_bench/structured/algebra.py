"""The functions that a family of structured matrices computes. They are pure: this module stores and trains nothing."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor


class Cost(NamedTuple):
    """The cost of one matrix, in counts that do not depend on the device.

    product, gradient: cost per token by the matrix's own route: N·log₂N summed over the real FFTs of length N, or
        multiply-adds.
    passes: number of passes over the entries of the dense matrix that build it.
    outer: the cost of ``Algebra.outer`` divided by the cost of the plain gᵀ·x, on a CPU.
    multiplied: multiply-adds of the matrix product that builds the dense matrix where few operations are preferred.
    operations: number of operations that a GPU starts for the product, or for the gradient, by the own route beyond
        those of the dense route. tests/structured/test_operations.py counts the operations of a layer's step.
    """

    product: float
    gradient: float
    passes: float
    outer: float = 1
    multiplied: float = 0
    operations: int = 0


class Algebra(ABC):
    """The functions of a family of matrices of shape (out_features, in_features).

    *Parameters* are the trained tensors, named as in ``start``. *Generators* are the tensors that the functions take:
    a few tensors with O(n) numbers in all. The matrix is linear in each generator. Often the generators are the
    parameters themselves.

    A family must implement ``start``, ``dense`` and ``product``. For speed, a family also implements ``adjoint``, which
    autograd computes otherwise, and ``cost``. Without ``cost``, the rule that chooses a route takes the dense route.
    """

    out_features: int
    in_features: int
    # How product multiplies: "fft" (of the activations), "factored" (by two small factors), or "parts" (a sum or a
    # product of structures, each part by its own route).
    own_route: ClassVar[str] = "factored"

    @property
    def side(self) -> int:
        """The side n = max(out_features, in_features) of the square matrix whose leading block is this matrix."""
        return max(self.out_features, self.in_features)

    @abstractmethod
    def start(self) -> dict[str, Tensor]:
        """Return new parameters by name. The matrix starts at zero and can be trained; random parameters are drawn."""

    @property
    def num_spared(self) -> int:
        """The number of trained numbers minus the number needed to serve the matrix; positive if overparametrised."""
        return 0

    def generators(self, *parameters: Tensor) -> tuple[Tensor, ...]:
        """Return the generators, differentiable, from the parameters in the order of ``start``."""
        return parameters

    def scaled(self, scale: float, *generators: Tensor) -> tuple[Tensor, ...]:
        """Return the generators of scale times the matrix."""
        *rest, last = generators
        return *rest, scale * last

    @abstractmethod
    def dense(self, *generators: Tensor) -> Tensor:
        """Return the dense matrix, shape (out_features, in_features), differentiable."""

    def outer(self, g: Tensor, x: Tensor) -> Tensor:
        """Return gᵀ·x, the gradient of Σ g·(M x) in M, for g (tokens, out_features) and x (tokens, in_features).

        A family may return any other matrix that has the same inner product with all members of the family.
        """
        return g.T @ x

    def prepare(self, *generators: Tensor) -> tuple[Tensor, ...]:
        """Return one tensor per generator, computed once for all tokens, for ``product`` and ``adjoint``."""
        return generators

    def transform(self, x: Tensor) -> Tensor:
        """Return x, (tokens, in_features), in the form that ``product`` and ``adjoint`` take and do not change."""
        return x

    @abstractmethod
    def product(self, x: Tensor, *prepared: Tensor) -> Tensor:
        """Return ``x @ dense.T``, (tokens, out_features), from the transformed x, without building the dense matrix."""

    def adjoint(
        self, x: Tensor, g: Tensor, wants_x: bool, *prepared: Tensor
    ) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        """Return the gradients of Σ g·(M x) in x, if wanted, and in the generators.

        They are computed from the transformed x and from g, (tokens, out_features). A family that overrides ``prepare``
        or ``transform`` must override this method too.
        """
        with torch.enable_grad():
            leaves = [t.detach().requires_grad_() for t in (x, *prepared)]
            gradient, *gradients = torch.autograd.grad(self.product(*leaves), leaves, g)
        return gradient if wants_x else None, tuple(gradients)

    @property
    def cost(self) -> Cost | None:
        """The cost of the routes; None if the cost is not known."""
        return None

    @property
    def values_per_token(self) -> int:
        """Numbers per token in the widest step of ``product``; decides how many tokens are computed at once."""
        return self.out_features + self.in_features

    def nearest(self, matrix: Tensor) -> tuple[Tensor, ...]:
        """Return the parameters, in the order of ``start``, of the member closest to a dense matrix in Frobenius norm.

        Raises:
            NotImplementedError: the family has no closed form.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no closed form for the nearest member: fit one by gradient descent on dense()"
        )
