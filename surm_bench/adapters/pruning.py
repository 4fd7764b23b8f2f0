"""Functions for methods whose ranks shrink during training.

ΔW is a sum of rank-one terms, and the least important terms of the whole model are zeroed.
"""

from collections.abc import Iterable

import torch
from torch import Tensor


def distance_to_orthogonal(columns: Tensor) -> Tensor:
    """Return ‖PᵀP − 1‖ (Frobenius), a scalar, of a matrix P with orthonormal columns if it is zero."""
    gram = columns.T @ columns
    return torch.linalg.matrix_norm(gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device))


@torch.no_grad()
def zero_lowest(factors: Iterable[Tensor], scores: Iterable[Tensor], count: int) -> None:
    """Zero in place the factors of the ``count`` terms with the lowest scores in the whole model.

    Args:
        factors, scores: for each layer a tensor (r,), with one factor and one score per term.
        count: at least 1. All terms with the same score as the last zeroed term are zeroed too.
    """
    scores = list(scores)
    threshold = torch.cat(scores).kthvalue(count).values
    for factor, score in zip(factors, scores, strict=True):
        factor.masked_fill_(score <= threshold, 0.0)
