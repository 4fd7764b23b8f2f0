"""The centrosymmetric part of gᵀ·x, at half the cost of the full product."""

import torch
from torch import Tensor

ROWS = 512  # tokens computed at once: their sums and differences stay in the cache of a CPU core


def centrosymmetric_outer(g: Tensor, x: Tensor) -> Tensor:
    """Return (G + J·G·J)/2 for G = gᵀ·x and J the reversal: (tokens, n) twice → (n, n).

    A matrix P with J·P·J = P has the same inner product with the result as with G. Every product of symmetric Toeplitz
    matrices is such a P. The result does not mix even and odd vectors, so two products of half the side are enough.
    """
    n = x.shape[1]
    half = (n + 1) // 2
    even, odd = x.new_zeros(2, half, half)
    for g_part, x_part in zip(g.split(ROWS), x.split(ROWS), strict=True):
        (g_even, g_odd), (x_even, x_odd) = _parities(g_part), _parities(x_part)
        even.addmm_(g_even.T, x_even)
        odd.addmm_(g_odd.T, x_odd)
    top = torch.empty(half, n, dtype=x.dtype, device=x.device)
    top[:, :half] = (even + odd) / 4
    top[:, n - half :] = (even - odd).flip(1) / 4
    return torch.cat((top, top[: n - half].flip(0, 1)))


def _parities(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first halves of x + x·J and x − x·J."""
    half = (x.shape[1] + 1) // 2
    first, last = x[:, :half], x[:, x.shape[1] - half :].flip(1)
    return first + last, first - last
