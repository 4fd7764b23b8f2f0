"""Members of the structures at a budget, and the nearest member of a structure with a closed form."""

import torch
from torch import Tensor

from surm_bench.structured import STRUCTURES, StructuredMatrix, Sum


def declarations() -> dict[str, dict[str, str | None]]:
    """Return label and growth of each structure for the records, so that reports need no torch to read them."""
    return {name: {"label": structure.label, "growth": structure.growth} for name, structure in STRUCTURES.items()}


def build(name: str, side: int, budget: int) -> StructuredMatrix:
    """Return the square matrix that trains budget · 2 · side numbers (Toeplitz: one fewer), at the structure's start.

    Args:
        name: a key of STRUCTURES.
        side: rows and columns.
        budget: 1 unless the structure has a growth. Sums of circulant (Toeplitz) matrices are circulant (Toeplitz)
            again, and SURM's symmetric Toeplitz product has no setting for its size.
    """
    structure = STRUCTURES[name]
    if structure.growth == "terms":
        return StructuredMatrix(Sum((structure(side, side),) * budget))
    return StructuredMatrix(structure(side, side, **({"r": budget} if structure.growth == "r" else {})))


def nearest(name: str, target: Tensor, budget: int) -> StructuredMatrix | None:
    """Return the member of ``build(name, …, budget)`` closest to target in Frobenius norm.

    None without a closed form. After the rearrangement of Van Loan & Pitsianis (1993), a sum of Kronecker products is a
    low-rank matrix. The best sum is found term by term, like a singular value decomposition.
    """
    if not STRUCTURES[name].has_closed_form():
        return None
    member = build(name, len(target), budget).to(target)
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
