"""The table of docs/method.md: how many numbers each family spans, which is the rank of its Jacobian, and its rank."""

import pytest
import torch
from torch.autograd.functional import jacobian

from surm_bench.structured import STRUCTURES

D = 16
# structure, options: numbers trained, spanned, and the greatest rank
FAMILIES = {
    ("low_rank", 1): (2 * D, 2 * D - 1, 1),
    ("low_rank", 3): (6 * D, 6 * D - 9, 3),
    ("circulant", None): (2 * D, D, D),
    ("symmetric_toeplitz", None): (2 * D, 2 * D - 1, D),
    ("toeplitz", None): (2 * D - 1, 2 * D - 1, D),
    ("kronecker", 2): (2 * D, 2 * D - 1, 4),
    ("kronecker", 4): (2 * D, 2 * D - 1, D),
    ("ldr", 1): (2 * D, 2 * D - 1, D),
    ("ldr", 3): (6 * D, 6 * D - 9, D),
}


@pytest.mark.parametrize("name, r", FAMILIES)
def test_a_family_spans_as_many_numbers_as_its_formula_says(name, r):
    structure = STRUCTURES[name](D, D, **({} if r is None else {"r": r}))
    drawn = tuple(torch.randn_like(p, dtype=torch.float64) for p in structure.start().values())

    def matrix(*parameters):
        return structure.dense(*structure.generators(*parameters))

    changes = torch.cat([part.reshape(D * D, -1) for part in jacobian(matrix, drawn)], 1)
    spanned = torch.linalg.matrix_rank(changes, rtol=1e-9).item()
    rank = torch.linalg.matrix_rank(matrix(*drawn)).item()
    assert (changes.shape[1], spanned, rank) == FAMILIES[name, r]
