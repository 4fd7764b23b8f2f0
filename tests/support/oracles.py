"""The dense matrix of every structure from its parameters: by indexing and plain products, differentiated by autograd.

A new structure needs an entry; the tests of structures, routes and adapters then run over it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from surm_bench.structured import StructuredMatrix


def index(rows: int, columns: int) -> Tensor:
    """i − j."""
    return torch.arange(rows)[:, None] - torch.arange(columns)


def circulant(p: dict[str, Tensor], rows: int, columns: int) -> Tensor:
    n = max(rows, columns)
    return (p["a"] * p["b"])[index(n, n) % n][:rows, :columns]


def symmetric_toeplitz(p: dict[str, Tensor], rows: int, columns: int) -> Tensor:
    square = index(max(rows, columns), max(rows, columns))
    return (p["b"][square.abs()] @ p["a"][square.abs()])[:rows, :columns]


def toeplitz(p: dict[str, Tensor], rows: int, columns: int) -> Tensor:
    return p["t"][index(rows, columns) + columns - 1]


def kronecker(p: dict[str, Tensor], rows: int, columns: int) -> Tensor:
    return torch.einsum("ij,kl->ikjl", p["b"], p["a"]).reshape(rows, columns)


def ldr(p: dict[str, Tensor], rows: int, columns: int) -> Tensor:
    n = max(rows, columns)
    square = index(n, n)
    sign = torch.where(square >= 0, 1.0, -1.0).double()
    pairs = zip(p["g"], p["h"], strict=True)
    return sum(g[square % n] @ (sign * h[square % n]) for g, h in pairs)[:rows, :columns]


def low_rank(p: dict[str, Tensor], rows: int, columns: int) -> Tensor:
    return p["b"] @ p["a"]


ORACLES: dict[str, Callable[[dict[str, Tensor], int, int], Tensor]] = {
    "circulant": circulant,
    "symmetric_toeplitz": symmetric_toeplitz,
    "toeplitz": toeplitz,
    "kronecker": kronecker,
    "ldr": ldr,
    "low_rank": low_rank,
}


def oracle(name: str, matrix: StructuredMatrix, p: dict[str, Tensor] | None = None) -> Tensor:
    """The dense matrix of that structure in fp64, from other values of its parameters where they are given."""
    assert name in ORACLES, f"structure {name!r} has no dense oracle: add one to tests/support/oracles.py"
    return ORACLES[name](values(matrix) if p is None else p, matrix.out_features, matrix.in_features)


def values(matrix: StructuredMatrix) -> dict[str, Tensor]:
    """The parameters in fp64, by name."""
    return {key: value.detach().double() for key, value in matrix.named_parameters()}
