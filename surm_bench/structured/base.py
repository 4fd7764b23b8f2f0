"""What every structure answers: product, dense form, counts and, where it is closed, the nearest member."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


class StructuredMatrix(nn.Module, ABC):
    """A trainable matrix of shape (out_features, in_features) that starts at zero.

    A rectangular member of a square family is the leading block of the square matrix of side
    ``n = max(out_features, in_features)``: pad, multiply, crop.

    Args:
        out_features: rows, at least 1.
        in_features: columns, at least 1.

    Raises:
        ValueError: a size below 1, or options that the sizes do not allow.
    """

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

    @abstractmethod
    def _dense(self, *parameters: Tensor) -> Tensor:
        """The matrix, shape (out_features, in_features), from the parameters in the order of their registration."""

    @abstractmethod
    def _matmul(self, x: Tensor, *parameters: Tensor) -> Tensor:
        """``x @ dense().T`` for x of shape (..., in_features), without the dense matrix."""

    @abstractmethod
    def reset_parameters(self) -> None:
        """Draw the parameters anew; the product stays zero."""

    def dense(self) -> Tensor:
        """The matrix itself, shape (out_features, in_features), differentiable in the parameters, fp32 or wider."""
        parameters = self._parameters_as(torch.float32)
        with _without_autocast(parameters[0].device):
            return self._dense(*parameters)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply: (..., in_features) → (..., out_features), in x's dtype.

        Half precision, of x or of the parameters, is widened to fp32, also under autocast: there is no half-precision
        FFT on a CPU, and a rounded one loses more than it saves.

        Raises:
            ValueError: x has another width than in_features.
        """
        if x.shape[-1] != self.in_features:  # an FFT would crop or pad it silently
            raise ValueError(f"an input of width {x.shape[-1]} does not fit in_features={self.in_features}")
        if x.numel() == 0:  # no FFT of nothing
            return x.new_zeros(*x.shape[:-1], self.out_features)
        parameters = self._parameters_as(torch.promote_types(x.dtype, torch.float32))
        with _without_autocast(x.device):
            return self._matmul(x.to(parameters[0].dtype), *parameters).to(x.dtype)

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


def _without_autocast(device: torch.device) -> AbstractContextManager:
    """Autocast off; the meta device, which computes shapes only, has none."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
