"""Toeplitz matrices as dense ones, and back: reading a vector along the diagonals, and summing along them.

A Toeplitz matrix of shape (m, n) is given by ``t`` of length m + n − 1, ordered by diagonal from the upper right
corner to the lower left: ``T[i, j] = t[i − j + n − 1]``. Reading and summing are each other's adjoint, and so each
other's backward.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def toeplitz_dense(t: Tensor, rows: int, columns: int) -> Tensor:
    """T of shape (rows, columns) from t of shape (rows + columns − 1,)."""
    return _Read.apply(t, rows, columns)


def diagonal_sums(matrix: Tensor) -> Tensor:
    """The sum of every diagonal, ordered as t is: (m, n) → (m + n − 1,)."""
    return _Sum.apply(matrix)


def circulant_diagonals(c: Tensor, rows: int, columns: int) -> Tensor:
    """The Toeplitz vector of C's leading (rows, columns) block: c[(i − j) mod n] for i − j = 1 − columns … rows − 1.

    c is (…, n) with n ≥ rows, columns.
    """
    return torch.cat((c[..., c.shape[-1] - columns + 1 :], c[..., :rows]), -1)  # (…, rows + columns − 1)


def skew_circulant_diagonals(h: Tensor, rows: int, columns: int) -> Tensor:
    """The same of the skew-circulant matrix S[i, j] = h[i − j] for i ≥ j, −h[n + i − j] above the diagonal."""
    return torch.cat((-h[..., h.shape[-1] - columns + 1 :], h[..., :rows]), -1)


def symmetric_diagonals(t: Tensor) -> Tensor:
    """The Toeplitz vector of the symmetric matrix T[i, j] = t[|i − j|], (…, n) → (…, 2n − 1)."""
    return torch.cat((t[..., 1:].flip(-1), t), -1)


def diagonal_index(rows: int, columns: int, device: torch.device | None = None) -> Tensor:
    """i − j for every entry of a (rows, columns) matrix."""
    return torch.arange(rows, device=device)[:, None] - torch.arange(columns, device=device)


def group_mean(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Mean of the values in each group: two tensors of one shape → (groups,). It is the Frobenius projection onto
    the matrices that are constant on each group of entries."""
    total = torch.zeros(groups, dtype=values.dtype, device=values.device).index_add_(
        0, group.flatten(), values.flatten()
    )
    return total / torch.bincount(group.flatten(), minlength=groups)


class _Read(Function):
    """t → T: row i is a window of the reversed vector, one place further left than that of row i − 1."""

    @staticmethod
    def forward(ctx: Any, t: Tensor, rows: int, columns: int) -> Tensor:
        return t.flip(0).unfold(0, columns, 1).flip(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return diagonal_sums(gradient), None, None


class _Sum(Function):
    """T → t: the rows are laid out so that each is shifted by one against the next; then diagonals are columns."""

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
