"""The structures, and sums and products of them, against dense linear algebra, by value and by gradient."""

import numpy as np
import pytest
import scipy.linalg
import torch
from support.oracles import oracle, values

from surm_bench.structured import (
    STRUCTURES,
    Algebra,
    Circulant,
    Kronecker,
    LowDisplacementRank,
    LowRank,
    Product,
    StructuredMatrix,
    Sum,
    SymmetricToeplitz,
    Toeplitz,
)

# name: (out_features, in_features)
SIZES = {
    "one": (1, 1),
    "column": (5, 1),
    "row": (1, 5),
    "two": (2, 2),
    "odd": (7, 7),
    "even": (8, 8),
    "tall": (12, 8),
    "wide": (8, 12),
    "tall, odd": (9, 4),
    "wide, odd": (4, 9),
    "far apart": (3, 17),
}
sizes = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
structures = pytest.mark.parametrize("name", STRUCTURES)
with_closed_form = pytest.mark.parametrize("name", [name for name, s in STRUCTURES.items() if s.has_closed_form()])


def scipys(name: str, p: dict[str, np.ndarray], m: int, n: int) -> np.ndarray:
    """The dense matrix from the parameters, by scipy alone."""

    def skew_circulant(h: np.ndarray) -> np.ndarray:
        return scipy.linalg.toeplitz(h, np.concatenate((h[:1], -h[:0:-1])))

    match name:
        case "circulant":
            return scipy.linalg.circulant(p["a"] * p["b"])[:m, :n]
        case "symmetric_toeplitz":
            return (scipy.linalg.toeplitz(p["b"]) @ scipy.linalg.toeplitz(p["a"]))[:m, :n]
        case "toeplitz":
            return scipy.linalg.toeplitz(p["t"][n - 1 :], p["t"][n - 1 :: -1])
        case "kronecker":
            return np.kron(p["b"], p["a"])
        case "ldr":
            pairs = zip(p["g"], p["h"], strict=True)
            return sum(scipy.linalg.circulant(g) @ skew_circulant(h) for g, h in pairs)[:m, :n]


def make(name: str, size: tuple[int, int], seed: int = 0, **options) -> StructuredMatrix:
    """A member in fp64 with random parameters."""
    return drawn(STRUCTURES[name](*size, **options), seed)


def drawn(algebra: Algebra, seed: int = 0) -> StructuredMatrix:
    torch.manual_seed(seed)
    matrix = StructuredMatrix(algebra).double()
    for parameter in matrix.parameters():
        torch.nn.init.normal_(parameter)
    return matrix


@pytest.mark.parametrize("name", ["circulant", "symmetric_toeplitz", "toeplitz", "kronecker", "ldr"])
@sizes
def test_the_oracles_are_scipys(name, size):
    matrix = make(name, size)
    found = scipys(name, {key: value.numpy() for key, value in values(matrix).items()}, *size)
    np.testing.assert_allclose(oracle(name, matrix), found, rtol=1e-12, atol=1e-12)


@structures
@sizes
def test_value(name, size):
    matrix = make(name, size)
    dense = oracle(name, matrix)
    x = torch.randn(2, 3, size[1], dtype=torch.float64)
    torch.testing.assert_close(matrix.dense(), dense, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(matrix(x), x @ dense.T, atol=1e-12, rtol=1e-12)


@structures
@sizes
def test_gradients(name, size):
    """Along a random direction in every parameter and in x, the exact difference quotient of the dense matrix: each
    entry is a polynomial of degree two at most in the parameters, so the central difference has no remainder."""
    matrix = make(name, size)
    x = torch.randn(4, size[1], dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, size[0], dtype=torch.float64)
    dense = oracle(name, matrix)
    for route in (lambda: (matrix(x) * weight).sum(), lambda: (x @ matrix.dense().T * weight).sum()):
        parameters = list(matrix.parameters())
        gradients = torch.autograd.grad(route(), [x, *parameters])
        torch.testing.assert_close(gradients[0], weight @ dense, atol=1e-10, rtol=1e-10)
        for parameter, gradient in zip(parameters, gradients[1:], strict=True):
            direction, values, start = torch.randn_like(parameter), [], parameter.detach().clone()
            for sign in (1, -1):
                parameter.data = start + sign * direction
                values.append((x.detach() @ oracle(name, matrix).T * weight).sum())
            parameter.data = start
            torch.testing.assert_close((gradient * direction).sum(), (values[0] - values[1]) / 2, atol=1e-9, rtol=1e-9)


@structures
def test_starts_at_zero_but_learns(name):
    matrix = StructuredMatrix(STRUCTURES[name](8, 12))
    x = torch.randn(3, 12)
    assert torch.count_nonzero(matrix.dense()) == 0
    assert torch.count_nonzero(matrix(x)) == 0
    (matrix(x) * torch.randn(3, 8)).sum().backward()
    assert any(parameter.grad.abs().max() > 0 for parameter in matrix.parameters())


@structures
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_fp32(name, dtype):
    """Against fp64: only the rounding of input and output is left, also under autocast and with half parameters."""
    matrix = make(name, (96, 65 if name not in ("kronecker", "low_rank") else 64)).float()
    x = torch.randn(5, matrix.in_features).to(dtype)
    exact = x.double() @ oracle(name, matrix).T
    scale = exact.abs().max()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast, dense = matrix(x), matrix.dense()
        wide = matrix(x.float())
    for answer in (matrix(x), under_autocast):
        assert answer.dtype == dtype
        assert (answer - exact).abs().max() <= torch.finfo(dtype).eps * scale
    assert wide.dtype == dense.dtype == torch.float32
    assert (wide - exact).abs().max() <= 1e-5 * scale
    assert (dense - oracle(name, matrix)).abs().max() <= 1e-5 * dense.abs().max()
    half = matrix.to(dtype)
    exact = x.double() @ oracle(name, half).T
    assert (half(x) - exact).abs().max() <= torch.finfo(dtype).eps * exact.abs().max()


@pytest.mark.parametrize("size", [(768, 768), (1024, 768), (3072, 768), (7, 5)])
def test_counts_are_the_closed_forms(size):
    m, n = size
    side = max(m, n)
    for structure, trained, stored in (
        (Circulant(m, n), 2 * side, side),
        (SymmetricToeplitz(m, n), 2 * side, 2 * side),
        (Toeplitz(m, n), m + n - 1, m + n - 1),
        (LowDisplacementRank(m, n, r=3), 6 * side, 6 * side),
        (LowRank(m, n, r=4), 4 * (m + n), 4 * (m + n)),
        (Kronecker(m, n), m + n, m + n),
    ):
        matrix = StructuredMatrix(structure)
        assert (matrix.num_parameters, matrix.num_stored) == (trained, stored)


def test_names_of_parameters_are_those_of_saved_adapters():
    names = {
        name: list(StructuredMatrix(STRUCTURES[name](4, 4)).state_dict())
        for name in ("circulant", "symmetric_toeplitz", "toeplitz", "kronecker", "ldr", "low_rank")
    }
    pairs = dict.fromkeys(("circulant", "symmetric_toeplitz", "kronecker", "low_rank"), ["a", "b"])
    assert names == pairs | {"toeplitz": ["t"], "ldr": ["g", "h"]}


def test_kronecker_trains_the_same_for_every_rank():
    assert {StructuredMatrix(Kronecker(48, 36, r=r)).num_parameters for r in (1, 2, 3, 4, 6, 12)} == {84}
    assert Kronecker(768, 768).shape_of_a == (24, 32)  # 24 is as near to √768 = 27.7 as 32 and the smaller one
    assert Kronecker(6, 4, factor=(2, 4)).shape_of_b == (3, 1)


def nearest(name: str, matrix: torch.Tensor) -> StructuredMatrix:
    return StructuredMatrix.nearest(STRUCTURES[name](*matrix.shape), matrix)


def test_which_have_a_closed_form():
    assert all(STRUCTURES[name].has_closed_form() for name in ("circulant", "toeplitz", "kronecker", "low_rank"))


@with_closed_form
@sizes
def test_nearest_is_exact_on_members(name, size):
    member = make(name, size).dense().detach()
    found = nearest(name, member)
    torch.testing.assert_close(found.dense(), member, atol=1e-10, rtol=1e-10)


@with_closed_form
@sizes
def test_nearest_beats_perturbations(name, size):
    torch.manual_seed(1)
    target = torch.randn(size, dtype=torch.float64)
    found = nearest(name, target)
    best = torch.linalg.norm(oracle(name, found) - target)
    for scale in (1e-3, 1e-1, 1.0):
        for _ in range(20):
            other = nearest(name, target)
            for parameter in other.parameters():
                parameter.data += scale * torch.randn_like(parameter)
            assert torch.linalg.norm(other.dense() - target) >= best - 1e-12


def test_nearest_options():
    """Eckart–Young: what remains is the tail of the spectrum."""
    target = torch.randn(9, 6, dtype=torch.float64)
    tail = torch.linalg.svdvals(target)[3:]
    remains = torch.linalg.norm(StructuredMatrix.nearest(LowRank(9, 6, r=3), target).dense() - target)
    torch.testing.assert_close(remains, torch.linalg.norm(tail))


@pytest.mark.parametrize("name", ["symmetric_toeplitz", "ldr"])
def test_nearest_without_closed_form(name):
    with pytest.raises(NotImplementedError, match="no closed form"):
        nearest(name, torch.eye(4))


@structures
def test_inputs_of_another_width_and_empty_ones(name):
    """An FFT would crop or pad silently what a dense product refuses."""
    matrix = make(name, (6, 4))
    for width in (3, 5, 6):
        with pytest.raises(ValueError, match=f"width {width} does not fit in_features=4"):
            matrix(torch.randn(2, width, dtype=torch.float64))
    assert matrix(torch.empty(0, 4)).shape == (0, 6)


@with_closed_form
def test_nearest_to_a_half_precision_matrix_is_found_in_fp32(name):
    """A sum of 1024 ones stalls at 256 in bfloat16. In fp32 a decomposition errs by some ulps of the norm, 256."""
    found = nearest(name, torch.ones(1024, 64, dtype=torch.bfloat16))
    torch.testing.assert_close(found.dense(), torch.ones(1024, 64), atol=1e-3, rtol=0)


def test_impossible_sizes():
    with pytest.raises(ValueError, match=r"r=5 does not divide both 12 and 8: choose from \[1, 2, 4\]"):
        Kronecker(12, 8, r=5)
    with pytest.raises(ValueError, match=r"side 5 does not divide in_features=8: choose from \[1, 2, 4, 8\]"):
        Kronecker(12, 8, factor=(3, 5))
    with pytest.raises(ValueError, match=r"r=2 and factor=\(3, 4\) both give the shape"):
        Kronecker(12, 8, r=2, factor=(3, 4))
    with pytest.raises(ValueError, match="rank r=9 is not possible: choose from 1 to 8"):
        LowRank(12, 8, r=9)
    with pytest.raises(ValueError, match="r is at least 1"):
        LowDisplacementRank(4, 4, r=0)
    with pytest.raises(ValueError, match="0×4"):
        Circulant(0, 4)


# Sums and products

COMBINED = {
    "circulant + low rank": Sum((Circulant(8, 6), LowRank(8, 6, r=2))),
    "Toeplitz · Toeplitz": Product((Toeplitz(8, 5), Toeplitz(5, 6))),
    "three factors": Product((Kronecker(8, 4), SymmetricToeplitz(4, 9), Circulant(9, 6))),
    "one object twice": Product((Toeplitz(6, 6),) * 2),
    "a sum as the last factor": Product((Toeplitz(8, 4), Sum((Toeplitz(4, 6), Kronecker(4, 6))))),
    "nested": Sum((Product((Toeplitz(8, 3), LowDisplacementRank(3, 6, r=2))), Sum((Toeplitz(8, 6), Kronecker(8, 6))))),
}
combined = pytest.mark.parametrize("algebra", COMBINED.values(), ids=COMBINED.keys())
NAMES = {structure: name for name, structure in STRUCTURES.items()}


def dense_of(algebra: Algebra, parameters: list[torch.Tensor]) -> torch.Tensor:
    """The dense oracle of every part, added or multiplied; takes its parameters from the front of the list."""
    if isinstance(algebra, Sum):
        return sum(dense_of(part, parameters) for part in algebra.parts)
    if isinstance(algebra, Product):
        return torch.linalg.multi_dot([dense_of(part, parameters) for part in algebra.parts])
    matrix = StructuredMatrix(algebra)
    p = {name: parameters.pop(0) for name, _ in matrix.named_parameters()}
    return oracle(NAMES[type(algebra)], matrix, p)


@combined
@pytest.mark.parametrize("route", ["auto", "dense", "parts"])
def test_sums_and_products(algebra, route):
    matrix = drawn(algebra)
    x = torch.randn(2, 3, algebra.in_features, dtype=torch.float64, requires_grad=True)
    g = torch.randn(2, 3, algebra.out_features, dtype=torch.float64)
    leaves = [p.detach().requires_grad_() for p in matrix.parameters()]
    dense = dense_of(algebra, list(leaves))
    torch.testing.assert_close(matrix.dense(), dense)
    exact, y = 3 * x @ dense.T, matrix(x, route, scale=3.0)
    torch.testing.assert_close(y, exact)
    wanted = torch.autograd.grad(exact, [x, *leaves], g)
    torch.testing.assert_close(torch.autograd.grad(y, [x, *matrix.parameters()], g), wanted)


@combined
def test_sums_and_products_start_at_zero_but_learn(algebra):
    matrix = StructuredMatrix(algebra)
    assert torch.count_nonzero(matrix.dense()) == 0
    matrix(torch.randn(3, matrix.in_features)).backward(torch.randn(3, matrix.out_features))
    assert any(parameter.grad.abs().max() > 0 for parameter in matrix.parameters())


def test_counts_of_sums_and_products():
    matrix = StructuredMatrix(Sum((Circulant(8, 6), LowRank(8, 6, r=2))))
    assert (matrix.num_parameters, matrix.num_stored) == (2 * 8 + 2 * 14, 8 + 2 * 14)
    assert list(matrix.state_dict()) == ["a0", "b0", "a1", "b1"]
    assert StructuredMatrix(Product((Toeplitz(8, 5), Toeplitz(5, 6)))).num_parameters == 12 + 10


def test_a_gradient_by_parts_without_one_of_x():
    """As of frozen inputs: the gradients of the parameters are the same."""
    matrix = drawn(COMBINED["three factors"])
    x, g = torch.randn(3, 6, dtype=torch.float64), torch.randn(3, 8, dtype=torch.float64)
    only = torch.autograd.grad(matrix(x, "parts"), list(matrix.parameters()), g)
    both = torch.autograd.grad(matrix(x.requires_grad_(), "parts"), list(matrix.parameters()), g)
    torch.testing.assert_close(only, both)


def test_impossible_sums_and_products():
    with pytest.raises(ValueError, match="a Sum of no parts is not possible"):
        Sum(())
    with pytest.raises(ValueError, match=r"a sum of the shapes \[\(8, 8\), \(8, 4\)\] is not possible"):
        Sum((Toeplitz(8, 8), Toeplitz(8, 4)))
    with pytest.raises(ValueError, match=r"a product of the shapes \[\(8, 4\), \(8, 8\)\] is not possible"):
        Product((Toeplitz(8, 4), Toeplitz(8, 8)))
