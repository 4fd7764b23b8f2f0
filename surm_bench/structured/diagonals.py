"""Conversion between a vector and a dense Toeplitz matrix: copy along the diagonals, and sum along the diagonals.

A Toeplitz matrix of shape (m, n) is given by ``t`` of length m + n − 1, ordered by diagonal from the upper right
corner to the lower left corner: ``T[i, j] = t[i − j + n − 1]``. Copying and summing are adjoint to each other, so each
is the backward pass of the other.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def toeplitz_dense(t: Tensor, rows: int, columns: int) -> Tensor:
    """Return T of shape (rows, columns) from t of shape (rows + columns − 1,)."""
    return _Read.apply(t, rows, columns)


def diagonal_sums(matrix: Tensor) -> Tensor:
    """Return the sum of every diagonal, in the order of t: (m, n) → (m + n − 1,)."""
    return _Sum.apply(matrix)


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


class _Read(Function):
    """t → T: row i is a window of the reversed vector, one place further left than the window of row i − 1."""

    @staticmethod
    def forward(ctx: Any, t: Tensor, rows: int, columns: int) -> Tensor:
        return t.flip(0).unfold(0, columns, 1).flip(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return diagonal_sums(gradient), None, None


class _Sum(Function):
    """T → t: each row is shifted by one place against the next row, so that the diagonals become columns."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        ctx.shape = rows, columns = matrix.shape
        length = rows + columns - 1
        skewed = matrix.new_zeros(rows, length)
        skewed.as_strided((rows, columns), (length - 1, 1), rows - 1).copy_(matrix)  # column rows − 1 − i + j
        return skewed.sum(0).flip(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return toeplitz_dense(gradient, *ctx.shape)
