"""Circulant and Toeplitz matrices as pure functions of their defining vectors.

A Toeplitz matrix of shape (m, n) is given by ``t`` of length m + n − 1, ordered by diagonal from the upper right
corner to the lower left: ``T[i, j] = t[i − j + n − 1]``.
"""

import torch
from torch import Tensor


def toeplitz_dense(t: Tensor, rows: int, columns: int) -> Tensor:
    """T of shape (rows, columns) from t of shape (rows + columns − 1,): windows of the reversed vector."""
    return t.flip(0).unfold(0, columns, 1).flip(0)  # (rows, columns)


def toeplitz_matmul(t: Tensor, x: Tensor, rows: int) -> Tensor:
    """``x @ T.T`` by FFT: (..., columns) → (..., rows), columns read off x.

    The first column and row of T, wrapped, define a circulant matrix of side rows + columns − 1 that holds T as its
    leading block (Golub & Van Loan, Matrix Computations, 4.7.7).
    """
    columns = x.shape[-1]
    wrapped = t.roll(-(columns - 1), 0)  # (rows + columns − 1,): diagonals 0, 1, …, then −(columns − 1), …, −1
    return circulant_matmul(wrapped, x, rows)


def circulant_matmul(c: Tensor, x: Tensor, rows: int) -> Tensor:
    """``x @ C[:rows, :columns].T`` by FFT, C the circulant matrix of first column c: (..., columns) → (..., rows)."""
    n = c.shape[-1]
    product = torch.fft.rfft(x, n=n) * torch.fft.rfft(c, n=n)  # (..., n // 2 + 1)
    return torch.fft.irfft(product, n=n)[..., :rows]  # without n= an odd side would lose a sample


def circulant_diagonals(c: Tensor, rows: int, columns: int) -> Tensor:
    """The Toeplitz vector of C's leading (rows, columns) block: c[(i − j) mod n] for i − j = 1 − columns … rows − 1.

    c has length n ≥ rows, columns.
    """
    return torch.cat((c[c.shape[-1] - columns + 1 :], c[:rows]))  # (rows + columns − 1,)


def skew_circulant_diagonals(h: Tensor) -> Tensor:
    """The Toeplitz vector of S(h), (n,) → (2n − 1,): S[i, j] = h[i − j] for i ≥ j, −h[n + i − j] above the diagonal."""
    return torch.cat((-h[1:], h))


def symmetric_diagonals(t: Tensor) -> Tensor:
    """The Toeplitz vector of the symmetric matrix T[i, j] = t[|i − j|], (n,) → (2n − 1,)."""
    return torch.cat((t[1:].flip(0), t))


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
