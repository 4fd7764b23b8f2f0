"""Members of the structures at a budget, and the nearest one where that has a closed form."""

import torch
from torch import Tensor

from surm_bench.structured import STRUCTURES, StructuredMatrix, Sum


def declarations() -> dict[str, dict[str, str | None]]:
    """What reports say of each structure, for the records: they are read without torch."""
    return {name: {"label": structure.label, "growth": structure.growth} for name, structure in STRUCTURES.items()}


def grows(structure: str) -> bool:
    """Whether more than 2·side numbers can be spent: sums of circulant (Toeplitz) matrices are circulant (Toeplitz)
    again, and SURM's symmetric Toeplitz product has no knob."""
    return STRUCTURES[structure].growth is not None


def build(structure: str, side: int, budget: int) -> StructuredMatrix:
    """The square matrix that trains budget · 2 · side numbers (Toeplitz: one fewer), drawn as the structure starts.

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
    """The member of ``build(structure, …, budget)`` closest to target in Frobenius norm; None without a closed form.

    A sum of Kronecker products is a low-rank matrix after the rearrangement of Van Loan & Pitsianis (1993), and the
    best one is found term by term, as a singular value decomposition is.
    """
    if not STRUCTURES[structure].has_closed_form():
        return None
    member = build(structure, len(target), budget).to(target)
    values, rest = [], target
    for term in member.algebra.parts if isinstance(member.algebra, Sum) else [member.algebra]:
        found = term.nearest(rest)
        rest = rest - term.dense(*term.generators(*found))
        values += found
    member.assign(values)
    return member


def relative_error(member: StructuredMatrix, target: Tensor) -> float:
    """‖target − member‖ / ‖target‖ in Frobenius norm."""
    with torch.no_grad():
        return (torch.linalg.norm(target - member.dense()) / torch.linalg.norm(target)).item()
