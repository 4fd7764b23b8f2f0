"""Products of two Toeplitz matrices as dense ones, in O(n²) instead of O(n³), by their low displacement rank."""

from typing import Any

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from surm_bench.structured.diagonals import diagonal_sums, toeplitz_dense

BLOCK = 16  # rows that one step of the running sum covers; 8 is as fast on a CPU, 32 and 64 are slower


def toeplitz_product(left: Tensor, right: Tensor, rows: int, inner: int, columns: int) -> Tensor:
    """Σₖ Aₖ·Bₖ, (rows, columns), of Toeplitz matrices A (rows, inner) and B (inner, columns).

    One step down the diagonal, all terms of a product's sum over the inner index are met again but the last, and a
    new first one comes in (displacement rank: Kailath, Kung & Morf, 1979)::

        P[i+1, j+1] − P[i, j] = A[i+1, 0]·B[0, j+1] − A[i, inner−1]·B[inner−1, j]

    so that P is its first row and column, moved along the diagonals, and a running sum along the diagonals.

    Args:
        left, right: the vectors of A and B, (k, rows + inner − 1) and (k, inner + columns − 1), ordered as in
            ``diagonals.py``.
    """
    down = torch.stack((left[:, inner:], -left[:, : rows - 1])).flatten(0, 1)  # (2k, rows − 1)
    across = torch.stack((right[:, : columns - 1].flip(1), right[:, inner:].flip(1))).flatten(0, 1)
    column_of_b, row_of_a = right[:, columns - 1 :], left[:, :inner].flip(1)
    size = next_fast_len(max(rows, columns) + inner - 1, real=True)
    vectors = [pad(v, (0, size - v.shape[1])) for v in (left, right.flip(1), column_of_b, row_of_a)]
    a, b, column_of_b, row_of_a = torch.fft.rfft(torch.stack(vectors)).unbind()
    edges = torch.fft.irfft(torch.stack((a * column_of_b, b * row_of_a)).sum(1), n=size)[:, inner - 1 :]
    edge = torch.cat((edges[1, 1:columns].flip(0), edges[0, :rows]))  # A·B[:, 0] and, before it, Bᵀ·A[0, :]ᵀ
    return _FromDisplacement.apply(down, across, edge)


class _FromDisplacement(Function):
    """The P of P[i+1, j+1] − P[i, j] = Σₖ downₖ[i]·acrossₖ[j] whose first row and column are those of toeplitz(edge):
    (k, rows − 1), (k, columns − 1), (rows + columns − 1,) → (rows, columns).

    The first BLOCK terms of the running sum are a matrix product of shifted copies. It then goes on in steps of BLOCK
    rows. The adjoint is the same backwards.
    """

    @staticmethod
    def forward(ctx: Any, down: Tensor, across: Tensor, edge: Tensor) -> Tensor:
        ctx.save_for_backward(down, across)
        total = _shifts(down) @ _shifts(across).T
        for part, diagonals in _edges(total, edge):
            part += toeplitz_dense(diagonals, *part.shape)
        for upper, lower in _steps(total):
            lower += upper
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        down, across = ctx.saved_tensors
        total = g.clone(memory_format=torch.contiguous_format)
        for upper, lower in reversed(_steps(total)):
            upper += lower
        edge = g.new_zeros(sum(g.shape) - 1)
        for part, diagonals in _edges(total, edge):
            diagonals += diagonal_sums(part)
        return _unshift(total @ _shifts(across)), _unshift(total.T @ _shifts(down)), edge


def _shifts(vectors: Tensor) -> Tensor:
    """(k, n − 1) → (n, k·BLOCK): each vector, under a zero, moved down by BLOCK − 1, …, 1, 0."""
    return pad(vectors, (BLOCK, 0)).unfold(1, BLOCK, 1).transpose(0, 1).flatten(1)


def _unshift(matrix: Tensor) -> Tensor:
    """The adjoint of it: the columns are laid out as rows so that each is shifted by one against the next."""
    rows = matrix.T.unflatten(0, (-1, BLOCK))  # (k, BLOCK, n)
    length = rows.shape[2] + BLOCK - 1
    skewed = pad(rows, (0, BLOCK)).flatten(1)[:, : BLOCK * length].unflatten(1, (BLOCK, length))
    return skewed.sum(1)[:, BLOCK:]


def _edges(matrix: Tensor, edge: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Views of what the first row and column reach within a block, each with its part of the Toeplitz vector."""
    top, left = matrix[:BLOCK], matrix[BLOCK:, :BLOCK]
    parts = [(top, edge[: sum(top.shape) - 1])]
    return [*parts, (left, edge[len(edge) - sum(left.shape) + 1 :])] if len(left) else parts


def _steps(matrix: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Views of what lies BLOCK rows and columns apart, a block of rows after the other."""
    lower = [matrix[i : i + BLOCK, BLOCK:] for i in range(BLOCK, len(matrix), BLOCK)]
    return [(matrix[i * BLOCK : i * BLOCK + len(part), :-BLOCK], part) for i, part in enumerate(lower)]
