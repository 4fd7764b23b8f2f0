"""Structured matrices in pure torch. This room imports nothing else of ours."""

from surm_bench.structured.base import StructuredMatrix
from surm_bench.structured.circulant import Circulant
from surm_bench.structured.displacement import LowDisplacementRank
from surm_bench.structured.kronecker import Kronecker
from surm_bench.structured.low_rank import LowRank
from surm_bench.structured.toeplitz import SymmetricToeplitz, Toeplitz

STRUCTURES: dict[str, type[StructuredMatrix]] = {
    "circulant": Circulant,
    "symmetric_toeplitz": SymmetricToeplitz,
    "toeplitz": Toeplitz,
    "kronecker": Kronecker,
    "ldr": LowDisplacementRank,
    "low_rank": LowRank,
}

__all__ = [
    "STRUCTURES",
    "Circulant",
    "Kronecker",
    "LowDisplacementRank",
    "LowRank",
    "StructuredMatrix",
    "SymmetricToeplitz",
    "Toeplitz",
]
