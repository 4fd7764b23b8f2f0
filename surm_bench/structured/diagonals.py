"""Conversion between a vector and a dense Toeplitz matrix: copy along the diagonals, and sum along the diagonals.

A Toeplitz matrix of shape (m, n) is given by ``t`` of length m + n − 1, ordered by diagonal from the upper right
corner to the lower left corner: ``T[i, j] = t[i − j + n − 1]``. Copying and summing are adjoint to each other, so each
is the backward pass of the other.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import pad

from surm_bench.structured.tracing import is_traced


def toeplitz_dense(t: Tensor, rows: int, columns: int) -> Tensor:
    """Return T of shape (rows, columns) from t of shape (rows + columns − 1,)."""
    return hankel(t, columns).flip(1)


def diagonal_sums(matrix: Tensor) -> Tensor:
    """Return the sum of every diagonal, in the order of t: (m, n) → (m + n − 1,)."""
    return antidiagonal_sums(matrix.flip(1))


def hankel(v: Tensor, columns: int) -> Tensor:
    """Return the Hankel matrix H[i, j] = v[i + j]: (…, m + columns − 1) → (…, m, columns)."""
    if not is_traced():
        return _Hankel.apply(v, columns)
    rows = v.shape[-1] - columns + 1  # rows of v and a last zero, cut anew: each begins one place later than the last
    repeated = v[..., None, :].expand(*v.shape[:-1], rows, -1).flatten(-2)
    return pad(repeated, (0, rows)).unflatten(-1, (rows, -1))[..., :columns]


def antidiagonal_sums(matrix: Tensor) -> Tensor:
    """Return Σ M[i, j] over i + j = k for every k: (…, m, n) → (…, m + n − 1)."""
    if not is_traced():
        return _AntidiagonalSums.apply(matrix)
    return _antidiagonal_sums(matrix)


def circulant_diagonals(c: Tensor, rows: int, columns: int) -> Tensor:
    """Return the Toeplitz vector of the leading (rows, columns) block of the circulant matrix with first column c.

    The vector is c[(i − j) mod n] for i − j = 1 − columns … rows − 1. c is (…, n) with n ≥ rows, columns.
    """
    return torch.cat((c[..., c.shape[-1] - columns + 1 :], c[..., :rows]), -1)  # (…, rows + columns − 1)


def skew_circulant_diagonals(h: Tensor, rows: int, columns: int) -> Tensor:
    """Return the Toeplitz vector of the leading (rows, columns) block of a skew-circulant matrix.

    The matrix is S[i, j] = h[i − j] for i ≥ j, and −h[n + i − j] above the diagonal.
    """
    return torch.cat((-h[..., h.shape[-1] - columns + 1 :], h[..., :rows]), -1)


def symmetric_diagonals(t: Tensor) -> Tensor:
    """Return the Toeplitz vector of the symmetric matrix T[i, j] = t[|i − j|], (…, n) → (…, 2n − 1)."""
    return torch.cat((t[..., 1:].flip(-1), t), -1)


def diagonal_index(rows: int, columns: int, device: torch.device | None = None) -> Tensor:
    """Return i − j for every entry of a (rows, columns) matrix."""
    return torch.arange(rows, device=device)[:, None] - torch.arange(columns, device=device)


def group_mean(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Return the mean of the values in each group: two tensors of equal shape → (groups,).

    The means are the Frobenius projection onto the matrices that are constant on each group of entries.
    """
    total = torch.zeros(groups, dtype=values.dtype, device=values.device).index_add_(
        0, group.flatten(), values.flatten()
    )
    return total / torch.bincount(group.flatten(), minlength=groups)


def _antidiagonal_sums(matrix: Tensor) -> Tensor:
    """Lay the rows out one after another, each moved one place to the right, and add them up."""
    rows, columns = matrix.shape[-2:]
    laid_out = pad(matrix, (0, rows)).flatten(-2)[..., : rows * (rows + columns - 1)]
    return laid_out.unflatten(-1, (rows, rows + columns - 1)).sum(-2)


class _Hankel(Function):
    """v → H as a view, and the antidiagonal sums of a gradient."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, columns: int) -> Tensor:
        return v.unfold(-1, columns, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return antidiagonal_sums(gradient), None


class _AntidiagonalSums(Function):
    """The adjoint of ``_Hankel``."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        ctx.columns = matrix.shape[-1]
        return _antidiagonal_sums(matrix)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return hankel(gradient, ctx.columns)
