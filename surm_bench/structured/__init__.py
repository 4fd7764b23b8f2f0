"""Structured matrices in pure torch. This package imports nothing else of surm_bench."""

from surm_bench.structured.algebra import Algebra, Cost
from surm_bench.structured.circulant import Circulant
from surm_bench.structured.combined import Combined
from surm_bench.structured.displacement import LowDisplacementRank
from surm_bench.structured.kronecker import Kronecker
from surm_bench.structured.low_rank import LowRank
from surm_bench.structured.matrix import StructuredMatrix
from surm_bench.structured.product import Product
from surm_bench.structured.structure import Structure
from surm_bench.structured.sum import Sum
from surm_bench.structured.toeplitz import SymmetricToeplitz, Toeplitz

STRUCTURES: dict[str, type[Structure]] = {
    "circulant": Circulant,
    "symmetric_toeplitz": SymmetricToeplitz,
    "toeplitz": Toeplitz,
    "kronecker": Kronecker,
    "ldr": LowDisplacementRank,
    "low_rank": LowRank,
}
COMBINED: dict[str, type[Combined]] = {"sum": Sum, "product": Product}

__all__ = [
    "COMBINED",
    "STRUCTURES",
    "Algebra",
    "Circulant",
    "Cost",
    "Kronecker",
    "LowDisplacementRank",
    "LowRank",
    "Product",
    "Structure",
    "StructuredMatrix",
    "Sum",
    "SymmetricToeplitz",
    "Toeplitz",
]
