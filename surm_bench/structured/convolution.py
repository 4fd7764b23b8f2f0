"""Circulant, skew-circulant and Toeplitz matrices as filters: diagonal between two Fourier transforms.

A filter is a matrix of shape (rows, columns) given by a vector. A Filter object does not hold the vector, so the same
few lines serve products, transposed products and gradients, for one filter or for a product of several filters.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn.functional import pad

from surm_bench.structured.diagonals import circulant_diagonals, skew_circulant_diagonals


@dataclass(frozen=True)
class Filter(ABC):
    """y = crop(F⁻¹(F(v) ⊙ F(x))): a linear convolution or a part of it, by transforms F of a given length."""

    rows: int
    columns: int

    @property
    @abstractmethod
    def length(self) -> int:
        """The length of the transform, in real numbers."""

    @property
    def work(self) -> float:
        """N·log₂N of one transform."""
        return self.length * math.log2(self.length)

    @abstractmethod
    def transform(self, x: Tensor) -> Tensor:
        """Pad with zeros and apply F: (..., at most length) → (..., frequencies), complex."""

    @abstractmethod
    def inverse(self, spectrum: Tensor, width: int) -> Tensor:
        """Apply F⁻¹ and crop: (..., frequencies) → (..., width)."""

    @abstractmethod
    def diagonals(self, vector: Tensor) -> Tensor:
        """Return the matrix as a Toeplitz vector, (rows + columns − 1,), ordered as in ``diagonals.py``."""

    def spectrum(self, vector: Tensor) -> Tensor:
        """Return F(v)."""
        return self.transform(vector)

    def gradient(self, x: Tensor, g: Tensor) -> Tensor:
        """Return the gradient of Σ g·(M x) in the vector, from F(x) and F(g), (…, tokens, frequencies).

        M x is also the matrix of x times the vector, so the gradient is the correlation of x and g, summed over tokens.
        """
        return self.inverse(torch.linalg.vecdot(x, g, dim=-2), self.length)


@dataclass(frozen=True)
class CirculantFilter(Filter):
    """The leading block of the circulant matrix with first column c, (n,)."""

    side: int

    @property
    def length(self) -> int:
        return self.side

    def transform(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x, n=self.side)

    def inverse(self, spectrum: Tensor, width: int) -> Tensor:
        return torch.fft.irfft(spectrum, n=self.side)[..., :width]  # without n= an odd side would lose a sample

    def diagonals(self, vector: Tensor) -> Tensor:
        return circulant_diagonals(vector, self.rows, self.columns)


@dataclass(frozen=True)
class SkewCirculantFilter(Filter):
    """The leading block of the skew-circulant matrix with first column h, (n,).

    With D = diag(ωᵏ) and ωⁿ = −1, D·S(h)·D⁻¹ is the circulant matrix with first column D·h. For odd n, ω = −1 is real.
    For even n, ω = exp(iπ/n). Then ω to the power n/2 is i, so the second half of a real x becomes the imaginary part
    of its first half, and a complex transform of half the length is enough.
    """

    side: int

    @property
    def length(self) -> int:
        return self.side

    def transform(self, x: Tensor) -> Tensor:
        if self.side % 2:
            return torch.fft.rfft(x * self._twist(x)[: x.shape[-1]], n=self.side)
        half = self.side // 2
        x = pad(x, (0, self.side - x.shape[-1]))
        return torch.fft.fft(torch.complex(x[..., :half], x[..., half:]).mul_(self._twist(x)))

    def inverse(self, spectrum: Tensor, width: int) -> Tensor:
        if self.side % 2:
            x = torch.fft.irfft(spectrum, n=self.side)
            return x.mul_(self._twist(x))[..., :width]
        x = torch.fft.ifft(spectrum)
        x = x.mul_(self._twist(x.real).conj())
        return torch.cat((x.real, x.imag), -1)[..., :width]

    def diagonals(self, vector: Tensor) -> Tensor:
        return skew_circulant_diagonals(vector, self.rows, self.columns)

    def _twist(self, x: Tensor) -> Tensor:
        """Return the diagonal of D in x's precision; complex for even n."""
        return torch.as_tensor(_twist(self.side, x.dtype == torch.float64), device=x.device)


@lru_cache(maxsize=64)
def _twist(side: int, double: bool) -> np.ndarray:
    """Return ωᵏ for k = 0 … n − 1 if n is odd, for k = 0 … n/2 − 1 if n is even."""
    if side % 2:
        return np.power(-1.0, np.arange(side)).astype(np.float64 if double else np.float32)
    return np.exp(1j * np.pi / side * np.arange(side // 2)).astype(np.complex128 if double else np.complex64)


@dataclass(frozen=True)
class ToeplitzFilter(Filter):
    """The Toeplitz matrix with vector t, (rows + columns − 1,).

    The first column and row of the Toeplitz matrix, with zeros between them, define a circulant matrix whose leading
    block is the Toeplitz matrix (Golub & Van Loan, Matrix Computations, 4.7.7). The zeros make the side a length with
    a fast FFT.
    """

    @property
    def length(self) -> int:
        return _fast_length(self.rows + self.columns - 1)

    def transform(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x, n=self.length)

    def inverse(self, spectrum: Tensor, width: int) -> Tensor:
        return torch.fft.irfft(spectrum, n=self.length)[..., :width]

    def spectrum(self, vector: Tensor) -> Tensor:
        wrapped = pad(vector, (0, self.length - vector.shape[-1]))
        return self.transform(wrapped.roll(1 - self.columns, -1))  # diagonals 0, 1, …, zeros, −(columns − 1), …, −1

    def gradient(self, x: Tensor, g: Tensor) -> Tensor:
        return circulant_diagonals(super().gradient(x, g), self.rows, self.columns)

    def diagonals(self, vector: Tensor) -> Tensor:
        return vector


@torch.compiler.assume_constant_result
def _fast_length(least: int) -> int:
    return next_fast_len(least, real=True)
