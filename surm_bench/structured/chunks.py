"""Computation in chunks of tokens, which bounds the memory of a product by the matrix's own route."""

from collections.abc import Callable

import torch
from torch import Tensor

# Numbers per thread in the widest step of a chunk of tokens. On a CPU a chunk fits into the cache of a core; on a GPU a
# chunk fills the GPU. A product by the matrix's own route takes this much memory in addition to its result.
CHUNK = {"cpu": 2**17, "cuda": 2**25}

Step = Callable[..., tuple[Tensor | None, tuple[Tensor, ...]]]


def by_chunks(values_per_token: int, step: Step, *tensors: Tensor) -> tuple[Tensor | None, list[Tensor]]:
    """Apply step to chunks of tokens, join its first answer over the tokens and add up its other answers.

    Args:
        values_per_token: numbers per token in the widest step; decides how many tokens a chunk has.
        step: takes one (tokens, width) part of each tensor; returns a result (tokens, width), or None, and tensors that
            are sums over the tokens.
        tensors: (..., width); at least one token.

    Returns:
        The joined answer, (..., width), with the leading sizes of the tensors, and the sums.
    """
    leading = tensors[0].shape[:-1]
    rows = [tensor.reshape(-1, tensor.shape[-1]) for tensor in tensors]
    device = rows[0].device.type
    numbers = CHUNK.get(device, CHUNK["cuda"]) * (torch.get_num_threads() if device == "cpu" else 1)
    size = max(1, numbers // values_per_token)
    if size >= len(rows[0]):
        result, sums = step(*rows)
        return None if result is None else result.contiguous().view(*leading, -1), list(sums)
    # Joined in its final shape: autograd adds up gradients in place, without a copy, only if they are no views.
    joined: Tensor | None = None
    totals: list[Tensor] = []
    for start, *parts in zip(range(0, len(rows[0]), size), *(tensor.split(size) for tensor in rows), strict=True):
        result, sums = step(*parts)
        if result is not None:
            joined = result.new_empty(*leading, result.shape[1]) if joined is None else joined
            joined.view(-1, result.shape[1])[start : start + size] = result
        totals = [total + part for total, part in zip(totals, sums, strict=True)] if totals else list(sums)
    return joined, totals
