"""Dense products of two Toeplitz matrices: in O(n²) by their low displacement rank, or by one matrix product."""

from typing import Any

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from surm_bench.structured.diagonals import diagonal_sums, hankel, toeplitz_dense

BLOCK = 16  # rows per step of the running sum; 8 rows are as fast, 32 and 64 are slower


def matrix_product(left: Tensor, right: Tensor, inner: int, columns: int) -> Tensor:
    """Return what ``toeplitz_product`` returns, by one matrix product in O(n³).

    The inner index runs backwards, because then both matrices are Hankel matrices, which are views of their vectors.
    """
    a, b = hankel(left, inner), hankel(right.flip(-1), columns)  # (k, rows, inner), (k, inner, columns)
    return a.transpose(0, 1).flatten(1) @ b.flatten(0, 1)


def toeplitz_product(left: Tensor, right: Tensor, rows: int, inner: int, columns: int) -> Tensor:
    """Return Σₖ Aₖ·Bₖ, (rows, columns), for Toeplitz matrices A (rows, inner) and B (inner, columns).

    An entry of the product P is a sum over the inner index. One step down the diagonal, the sum has the same terms, but
    the last term is gone and there is a new first term (displacement rank: Kailath, Kung & Morf, 1979)::

        P[i+1, j+1] − P[i, j] = A[i+1, 0]·B[0, j+1] − A[i, inner−1]·B[inner−1, j]

    So P is the sum of its first row and column, moved along the diagonals, and a running sum along the diagonals.

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
    """The matrix P with P[i+1, j+1] − P[i, j] = Σₖ downₖ[i]·acrossₖ[j] and the first row and column of toeplitz(edge).

    Shapes: (k, rows − 1), (k, columns − 1), (rows + columns − 1,) → (rows, columns). The first terms of the running
    sum, as many as a block has rows, are a matrix product of shifted copies. The sum then goes on in steps of a block.
    The adjoint does the same steps backwards.
    """

    @staticmethod
    def forward(ctx: Any, down: Tensor, across: Tensor, edge: Tensor) -> Tensor:
        ctx.save_for_backward(down, across)
        ctx.block = block = BLOCK
        total = _shifts(down, block) @ _shifts(across, block).T
        for part, diagonals in _edges(total, edge, block):
            part += toeplitz_dense(diagonals, *part.shape)
        for upper, lower in _steps(total, block):
            lower += upper
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (down, across), block = ctx.saved_tensors, ctx.block
        total = g.clone(memory_format=torch.contiguous_format)
        for upper, lower in reversed(_steps(total, block)):
            upper += lower
        edge = g.new_zeros(sum(g.shape) - 1)
        for part, diagonals in _edges(total, edge, block):
            diagonals += diagonal_sums(part)
        return _unshift(total @ _shifts(across, block), block), _unshift(total.T @ _shifts(down, block), block), edge


def _shifts(vectors: Tensor, block: int) -> Tensor:
    """Return copies of each vector, with a zero on top, moved down by block − 1, …, 1, 0: (k, n − 1) → (n, k·block)."""
    return pad(vectors, (block, 0)).unfold(1, block, 1).transpose(0, 1).flatten(1)


def _unshift(matrix: Tensor, block: int) -> Tensor:
    """Apply the adjoint of ``_shifts``: lay the columns out as rows, each shifted by one place against the next."""
    rows = matrix.T.unflatten(0, (-1, block))  # (k, block, n)
    length = rows.shape[2] + block - 1
    skewed = pad(rows, (0, block)).flatten(1)[:, : block * length].unflatten(1, (block, length))
    return skewed.sum(1)[:, block:]


def _edges(matrix: Tensor, edge: Tensor, block: int) -> list[tuple[Tensor, Tensor]]:
    """Return views of the first block of rows and of columns, each with its part of the Toeplitz vector."""
    top, left = matrix[:block], matrix[block:, :block]
    parts = [(top, edge[: sum(top.shape) - 1])]
    return [*parts, (left, edge[len(edge) - sum(left.shape) + 1 :])] if len(left) else parts


def _steps(matrix: Tensor, block: int) -> list[tuple[Tensor, Tensor]]:
    """Return pairs of views, one for each block of rows, that lie block rows and block columns apart."""
    lower = [matrix[i : i + block, block:] for i in range(block, len(matrix), block)]
    return [(matrix[i * block : i * block + len(part), :-block], part) for i, part in enumerate(lower)]
