"""Members of the structures at a budget, and the nearest member of a structure with a closed form."""

import torch
from torch import Tensor

from surm_bench.structured import STRUCTURES, StructuredMatrix, Sum


def declarations() -> dict[str, dict[str, str | None]]:
    """Return label and growth of each structure for the records, so that reports need no torch to read them."""
    return {name: {"label": structure.label, "growth": structure.growth} for name, structure in STRUCTURES.items()}


def grows(structure: str) -> bool:
    """Whether the structure can spend more than 2·side numbers.

    Sums of circulant (Toeplitz) matrices are circulant (Toeplitz) again, and SURM's symmetric Toeplitz product has no
    setting for its size.
    """
    return STRUCTURES[structure].growth is not None


def build(structure: str, side: int, budget: int) -> StructuredMatrix:
    """Return the square matrix that trains budget · 2 · side numbers (Toeplitz: one fewer), at the structure's start.

    Args:
        structure: a key of STRUCTURES.
        side: rows and columns.
        budget: 1 unless the structure grows.
    """
    family = STRUCTURES[structure]
    if family.growth == "terms":
        return StructuredMatrix(Sum((family(side, side),) * budget))
    return StructuredMatrix(family(side, side, **({"r": budget} if family.growth == "r" else {})))


def nearest(structure: str, target: Tensor, budget: int) -> StructuredMatrix | None:
    """Return the member of ``build(structure, …, budget)`` closest to target in Frobenius norm.

    None without a closed form. After the rearrangement of Van Loan & Pitsianis (1993), a sum of Kronecker products is a
    low-rank matrix. The best sum is found term by term, like a singular value decomposition.
    """
    if not STRUCTURES[structure].has_closed_form():
        return None
    member = build(structure, len(target), budget).to(target)
    values, rest = [], target
    for term in member.algebra.parts if isinstance(member.algebra, Sum) else [member.algebra]:
        nearest = term.nearest(rest)
        rest = rest - term.dense(*term.generators(*nearest))
        values += nearest
    member.assign(values)
    return member


def relative_error(member: StructuredMatrix, target: Tensor) -> float:
    """Return ‖target − member‖ / ‖target‖ in Frobenius norm."""
    with torch.no_grad():
        return (torch.linalg.norm(target - member.dense()) / torch.linalg.norm(target)).item()
