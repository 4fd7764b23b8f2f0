"""The structures against dense linear algebra built here with scipy, by value and by gradient."""

import numpy as np
import pytest
import scipy.linalg
import torch

from surm_bench.structured import STRUCTURES, Circulant, Kronecker, LowDisplacementRank, LowRank, Toeplitz

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


def circulant(c):
    return scipy.linalg.circulant(c)


def skew_circulant(h):
    return scipy.linalg.toeplitz(h, np.concatenate((h[:1], -h[:0:-1])))


def oracle(name: str, matrix: torch.nn.Module) -> np.ndarray:
    """The dense matrix from the parameters, by scipy alone."""
    m, n = matrix.out_features, matrix.in_features
    p = {key: value.detach().double().numpy() for key, value in matrix.named_parameters()}
    match name:
        case "circulant":
            return circulant(p["a"] * p["b"])[:m, :n]
        case "symmetric_toeplitz":
            return (scipy.linalg.toeplitz(p["b"]) @ scipy.linalg.toeplitz(p["a"]))[:m, :n]
        case "toeplitz":
            return scipy.linalg.toeplitz(p["t"][n - 1 :], p["t"][n - 1 :: -1])
        case "kronecker":
            return np.kron(p["b"], p["a"])
        case "ldr":
            pairs = zip(p["g"], p["h"], strict=True)
            return sum(circulant(g) @ skew_circulant(h) for g, h in pairs)[:m, :n]
        case "low_rank":
            return p["b"] @ p["a"]


def make(name: str, size: tuple[int, int], seed: int = 0, **options) -> torch.nn.Module:
    """A member in fp64 with random parameters."""
    torch.manual_seed(seed)
    matrix = STRUCTURES[name](*size, **options).double()
    for parameter in matrix.parameters():
        torch.nn.init.normal_(parameter)
    return matrix


@structures
@sizes
def test_value(name, size):
    matrix = make(name, size)
    dense = torch.from_numpy(oracle(name, matrix).copy())
    x = torch.randn(2, 3, size[1], dtype=torch.float64)
    torch.testing.assert_close(matrix.dense(), dense, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(matrix(x), x @ dense.T, atol=1e-12, rtol=1e-12)


@structures
@sizes
def test_gradients(name, size):
    """Along a random direction in every parameter and in x, the exact difference quotient of scipy's matrix: each
    entry is a polynomial of degree two at most in the parameters, so the central difference has no remainder."""
    matrix = make(name, size)
    x = torch.randn(4, size[1], dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, size[0], dtype=torch.float64)
    dense = torch.from_numpy(oracle(name, matrix).copy())
    for route in (lambda: (matrix(x) * weight).sum(), lambda: (x @ matrix.dense().T * weight).sum()):
        parameters = list(matrix.parameters())
        gradients = torch.autograd.grad(route(), [x, *parameters])
        torch.testing.assert_close(gradients[0], weight @ dense, atol=1e-10, rtol=1e-10)
        for parameter, gradient in zip(parameters, gradients[1:], strict=True):
            direction, values, start = torch.randn_like(parameter), [], parameter.detach().clone()
            for sign in (1, -1):
                parameter.data = start + sign * direction
                values.append((x.detach() @ torch.from_numpy(oracle(name, matrix).copy()).T * weight).sum())
            parameter.data = start
            torch.testing.assert_close((gradient * direction).sum(), (values[0] - values[1]) / 2, atol=1e-9, rtol=1e-9)


@structures
def test_starts_at_zero_but_learns(name):
    matrix = STRUCTURES[name](8, 12)
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
    exact = x.double() @ torch.from_numpy(oracle(name, matrix).copy()).T
    scale = exact.abs().max()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast, dense = matrix(x), matrix.dense()
        wide = matrix(x.float())
    for answer in (matrix(x), under_autocast):
        assert answer.dtype == dtype
        assert (answer - exact).abs().max() <= torch.finfo(dtype).eps * scale
    assert wide.dtype == dense.dtype == torch.float32
    assert (wide - exact).abs().max() <= 1e-5 * scale
    assert (dense - torch.from_numpy(oracle(name, matrix).copy())).abs().max() <= 1e-5 * dense.abs().max()
    half = matrix.to(dtype)
    exact = x.double() @ torch.from_numpy(oracle(name, half).copy()).T
    assert (half(x) - exact).abs().max() <= torch.finfo(dtype).eps * exact.abs().max()


@pytest.mark.parametrize("size", [(768, 768), (1024, 768), (3072, 768), (7, 5)])
def test_counts_are_the_closed_forms(size):
    m, n = size
    side = max(m, n)
    assert Circulant(m, n).num_parameters == 2 * side
    assert Circulant(m, n).num_stored == side
    assert STRUCTURES["symmetric_toeplitz"](m, n).num_parameters == 2 * side
    assert Toeplitz(m, n).num_parameters == Toeplitz(m, n).num_stored == m + n - 1
    assert LowDisplacementRank(m, n, r=3).num_stored == 6 * side
    assert LowRank(m, n, r=4).num_parameters == 4 * (m + n)
    assert Kronecker(m, n).num_parameters == m + n


def test_kronecker_trains_the_same_for_every_rank():
    assert {Kronecker(48, 36, r=r).num_parameters for r in (1, 2, 3, 4, 6, 12)} == {84}
    assert Kronecker(768, 768).a.shape == (24, 32)  # 24 is as near to √768 = 27.7 as 32 and the smaller one
    assert Kronecker(6, 4, factor=(2, 4)).b.shape == (3, 1)


@pytest.mark.parametrize("name", ["circulant", "toeplitz", "kronecker", "low_rank"])
@sizes
def test_nearest_is_exact_on_members(name, size):
    member = make(name, size).dense().detach()
    found = STRUCTURES[name].nearest(member)
    torch.testing.assert_close(found.dense(), member, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", ["circulant", "toeplitz", "kronecker", "low_rank"])
@sizes
def test_nearest_beats_perturbations(name, size):
    torch.manual_seed(1)
    target = torch.randn(size, dtype=torch.float64)
    found = STRUCTURES[name].nearest(target)
    best = torch.linalg.norm(torch.from_numpy(oracle(name, found).copy()) - target)
    for scale in (1e-3, 1e-1, 1.0):
        for _ in range(20):
            other = STRUCTURES[name].nearest(target)
            for parameter in other.parameters():
                parameter.data += scale * torch.randn_like(parameter)
            assert torch.linalg.norm(other.dense() - target) >= best - 1e-12


def test_nearest_options():
    """Eckart–Young: what remains is the tail of the spectrum."""
    target = torch.randn(9, 6, dtype=torch.float64)
    tail = torch.linalg.svdvals(target)[3:]
    remains = torch.linalg.norm(LowRank.nearest(target, r=3).dense() - target)
    torch.testing.assert_close(remains, torch.linalg.norm(tail))


@pytest.mark.parametrize("name", ["symmetric_toeplitz", "ldr"])
def test_nearest_without_closed_form(name):
    with pytest.raises(NotImplementedError, match="no closed form"):
        STRUCTURES[name].nearest(torch.eye(4))


@structures
def test_inputs_of_another_width_and_empty_ones(name):
    """An FFT would crop or pad silently what a dense product refuses."""
    matrix = make(name, (6, 4))
    for width in (3, 5, 6):
        with pytest.raises(ValueError, match=f"width {width} does not fit in_features=4"):
            matrix(torch.randn(2, width, dtype=torch.float64))
    assert matrix(torch.empty(0, 4)).shape == (0, 6)


@pytest.mark.parametrize("name", ["circulant", "toeplitz", "kronecker", "low_rank"])
def test_nearest_to_a_half_precision_matrix_is_found_in_fp32(name):
    """A sum of 1024 ones stalls at 256 in bfloat16."""
    found = STRUCTURES[name].nearest(torch.ones(1024, 64, dtype=torch.bfloat16))
    torch.testing.assert_close(found.dense(), torch.ones(1024, 64), atol=1e-4, rtol=0)


def test_impossible_sizes():
    with pytest.raises(ValueError, match=r"r=5 does not divide both 12 and 8: choose from \[1, 2, 4\]"):
        Kronecker(12, 8, r=5)
    with pytest.raises(ValueError, match=r"side 5 does not divide in_features=8: choose from \[1, 2, 4, 8\]"):
        Kronecker(12, 8, factor=(3, 5))
    with pytest.raises(ValueError, match="rank r=9 is not possible: choose from 1 to 8"):
        LowRank(12, 8, r=9)
    with pytest.raises(ValueError, match="r is at least 1"):
        LowDisplacementRank(4, 4, r=0)
    with pytest.raises(ValueError, match="0×4"):
        Circulant(0, 4)
