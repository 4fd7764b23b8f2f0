"""Every route of every structure against dense linear algebra in fp64, forward and backward."""

import numpy as np
import pytest
import scipy.linalg
import torch
from peft import get_peft_model
from support.oracles import oracle
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from surm_bench.adapters import ResidualAdapterConfig, SurmConfig
from surm_bench.adapters.methods.residual import ACTIVATIONS
from surm_bench.errors import UserError
from surm_bench.structured import STRUCTURES, Structure, StructuredMatrix
from surm_bench.structured import toeplitz_product as displacement
from surm_bench.structured.chunks import CHUNK
from surm_bench.structured.linear import Term, linear, own_product
from surm_bench.structured.residual import residual
from surm_bench.structured.routes import choose_route
from surm_bench.structured.toeplitz_product import toeplitz_product

# name: (out_features, in_features)
SIZES = {"odd": (7, 7), "even": (36, 36), "two blocks, odd": (35, 35), "tall": (40, 24), "wide": (9, 45), "one": (1, 1)}
sizes = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
structures = pytest.mark.parametrize("name", STRUCTURES)
TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-5}


def make(name: str, size: tuple[int, int], dtype: torch.dtype = torch.float64, **options) -> nn.Module:
    torch.manual_seed(0)
    matrix = StructuredMatrix(STRUCTURES[name](*size, **options)).to(dtype)
    for parameter in matrix.parameters():
        nn.init.normal_(parameter)
    return matrix


def exact(function, matrix: nn.Module, name: str, x: Tensor, g: Tensor) -> list[Tensor]:
    """function(dense, x) of fp64 leaves, and its gradients in x and in the parameters."""
    x = x.detach().double().requires_grad_()
    leaves = {key: value.detach().double().requires_grad_() for key, value in matrix.named_parameters()}
    y = function(oracle(name, matrix, leaves), x)
    return [y, *torch.autograd.grad(y, [x, *leaves.values()], g.double())]


def close(answers: list[Tensor], wanted: list[Tensor], tolerance: float) -> None:
    for answer, want in zip(answers, wanted, strict=True):
        torch.testing.assert_close(answer.double(), want, rtol=0, atol=tolerance * max(want.abs().max().item(), 1e-30))


def input_and_gradient(size: tuple[int, int], dtype: torch.dtype, tokens: tuple = (3, 5)) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(*tokens, size[1], dtype=dtype, requires_grad=True), torch.randn(*tokens, size[0], dtype=dtype)


@pytest.fixture
def small_chunks(monkeypatch):
    """Two tokens at once or so, so that the sums over chunks are seen."""
    monkeypatch.setitem(CHUNK, "cpu", 150)


@structures
@sizes
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("gradient", ["dense", "own"])
def test_merged_product(name, size, dtype, gradient, small_chunks):
    matrix = make(name, size, dtype)
    x, g = input_and_gradient(size, dtype)
    weight, bias = torch.randn(size, dtype=dtype), torch.randn(size[0], dtype=dtype)
    route = matrix.algebra.own_route if gradient == "own" else "dense"
    y = linear(x, weight, bias, [Term(matrix.algebra, matrix.generators(dtype, scale=0.5), route)])
    answers = [y, *torch.autograd.grad(y, [x, *matrix.parameters()], g)]

    def plain(dense: Tensor, x: Tensor) -> Tensor:
        return F.linear(x, weight.double() + 0.5 * dense, bias.double())

    close(answers, exact(plain, matrix, name, x, g), TOLERANCE[dtype])


@structures
@sizes
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("route", ["dense", "own", "auto"])
def test_product_alone(name, size, dtype, route, small_chunks):
    matrix = make(name, size, dtype)
    x, g = input_and_gradient(size, dtype)
    y = matrix(x, matrix.algebra.own_route if route == "own" else route, scale=2.0)
    answers = [y, *torch.autograd.grad(y, [x, *matrix.parameters()], g)]
    close(answers, exact(lambda dense, x: 2 * x @ dense.T, matrix, name, x, g), TOLERANCE[dtype])


@structures
@sizes
def test_gradient_of_the_dense_matrix(name, size):
    matrix = make(name, size)
    g = torch.randn(size, dtype=torch.float64)
    answers = torch.autograd.grad(matrix.dense(), list(matrix.parameters()), g)
    leaves = {key: value.detach().requires_grad_() for key, value in matrix.named_parameters()}
    close(answers, torch.autograd.grad(oracle(name, matrix, leaves), list(leaves.values()), g), 1e-12)


@pytest.mark.parametrize("r", [2, 3])
@pytest.mark.parametrize("name", ["ldr", "low_rank"])
def test_several_terms(name, r):
    matrix = make(name, (20, 18), r=r)
    x, g = input_and_gradient((20, 18), torch.float64)
    for route in ("dense", matrix.algebra.own_route):
        y = matrix(x, route)
        answers = [y, *torch.autograd.grad(y, [x, *matrix.parameters()], g)]
        close(answers, exact(lambda dense, x: x @ dense.T, matrix, name, x, g), 1e-11)


@structures
def test_gradcheck(name):
    matrix = make(name, (6, 4))
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    weight, bias = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    generators = [t.detach().requires_grad_() for t in matrix.generators(torch.float64)]
    for route in ("dense", matrix.algebra.own_route):
        assert torch.autograd.gradcheck(
            lambda x, *leaves, route=route: linear(x, weight, bias, [Term(matrix.algebra, list(leaves), route)]),
            (x, *generators),
        )
    assert torch.autograd.gradcheck(lambda x, *leaves: own_product(matrix.algebra, x, list(leaves)), (x, *generators))


@structures
@pytest.mark.parametrize("activation", ["gelu", "tanh", "identity"])
@pytest.mark.parametrize("separate", [False, True])
def test_residual(name, activation, separate, small_chunks):
    """y + act(M x) + bias, where y is x and where it is another tensor."""
    matrix, act = make(name, (12, 12)), ACTIVATIONS[activation]()
    for parameter in matrix.parameters():
        parameter.data *= 0.3
    x, g = input_and_gradient((12, 12), torch.float64)
    y = torch.randn_like(x).requires_grad_() if separate else x
    bias = torch.randn(12, dtype=torch.float64, requires_grad=True)
    total = residual(matrix.algebra, matrix.generators(torch.float64), act, y, x, bias)
    leaves = [x, bias, *matrix.parameters(), *([y] if separate else [])]
    gradients = torch.autograd.grad(total, leaves, g)

    def plain(dense: Tensor, x_leaf: Tensor) -> Tensor:
        return (y.detach() if separate else x_leaf) + act(x_leaf @ dense.T) + bias.detach()

    wanted = exact(plain, matrix, name, x, g)
    close([total, gradients[0], *gradients[2 : 2 + len(wanted) - 2]], wanted, 1e-11)
    close([gradients[1]], [g.sum((0, 1))], 1e-12)
    if separate:
        assert torch.equal(gradients[-1], g)


@structures
def test_shapes_of_x(name):
    """A single token, none, a view that is not contiguous, and a gradient that is expanded from a scalar."""
    matrix = make(name, (6, 4))
    weight = torch.randn(6, 4, dtype=torch.float64)
    total = weight + oracle(name, matrix)
    wide = torch.randn(5, 9, dtype=torch.float64)
    for route in ("dense", matrix.algebra.own_route):
        for x in (wide[0, :4], wide[:0, :4], wide[:, 2:6], wide.T[:4].T):
            x = x.detach().requires_grad_()
            y = linear(x, weight, None, [Term(matrix.algebra, matrix.generators(torch.float64), route)])
            torch.testing.assert_close(y, x @ total.T)
            gradients = torch.autograd.grad(y.sum(), [x, *matrix.parameters()])
            torch.testing.assert_close(gradients[0], total.sum(0).expand_as(x))
            assert all(gradient.abs().max() > 0 for gradient in gradients[1:]) == (x.numel() > 0)


@structures
def test_only_what_is_trained_gets_a_gradient(name):
    matrix = make(name, (6, 4))
    x, g = input_and_gradient((6, 4), torch.float64)
    weight = torch.randn(6, 4, dtype=torch.float64)
    for route in ("dense", matrix.algebra.own_route):
        y = linear(x.detach(), weight, None, [Term(matrix.algebra, matrix.generators(torch.float64), route)])
        only = torch.autograd.grad(y, list(matrix.parameters()), g)
        both = linear(x, weight, None, [Term(matrix.algebra, matrix.generators(torch.float64), route)])
        close(only, torch.autograd.grad(both, list(matrix.parameters()), g), 1e-12)
        matrix.requires_grad_(False)
        y = linear(x, weight, None, [Term(matrix.algebra, matrix.generators(torch.float64), route)])
        total = weight + oracle(name, matrix)
        torch.testing.assert_close(torch.autograd.grad(y, x, g)[0], g @ total)
        matrix.requires_grad_(True)


def adapted(linear_layer: nn.Linear, config) -> nn.Module:
    return get_peft_model(nn.Sequential(linear_layer), config)


@structures
@pytest.mark.parametrize("route", ["auto", "dense", "own"])
def test_nothing_large_is_saved(name, route):
    """For backward the layer keeps its input, the frozen weight, which is there anyway, and O(n) numbers."""
    n, tokens = 32, 64
    route = STRUCTURES[name].own_route if route == "own" else route
    model = adapted(nn.Linear(n, n), SurmConfig(structure=name, route=route, target_modules=["0"]))
    x = torch.randn(tokens, n, requires_grad=True)
    weight = model.base_model.model[0].base_layer.weight
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda t: t):
        model(x)
    others = [t for t in saved if t.data_ptr() not in (x.data_ptr(), weight.data_ptr())]
    assert any(t.data_ptr() == x.data_ptr() for t in saved)
    assert sum(t.numel() for t in others) <= 16 * n


@structures
@pytest.mark.parametrize("trained", ["weight", "bias"])
def test_base_layer_that_is_trained_too(name, trained):
    """BitFit beside an adapter, or a base layer that is not frozen: its gradient is right."""
    layer = adapted(nn.Linear(12, 12), SurmConfig(structure=name, route="dense", target_modules=["0"]))
    layer = layer.base_model.model[0]
    for parameter in layer.surm_delta.parameters():
        nn.init.normal_(parameter)
    getattr(layer.base_layer, trained).requires_grad_()
    x, g = input_and_gradient((12, 12), torch.float32)
    matrix = layer.surm_delta["default"]
    leaves = [getattr(layer.base_layer, trained), x, *matrix.parameters()]
    answers = torch.autograd.grad(layer(x), leaves, g)
    wanted = exact(
        lambda dense, x: F.linear(x, layer.base_layer.weight.double() + dense, layer.base_layer.bias.double()),
        matrix, name, x, g,
    )  # fmt: skip
    rows, g_rows = x.detach().flatten(0, 1).double(), g.flatten(0, 1).double()
    close(answers, [g_rows.T @ rows if trained == "weight" else g_rows.sum(0), *wanted[1:]], 1e-5)


def test_two_adapters_by_different_routes():
    """A merged term and one by FFT in one layer, both active."""
    layer = adapted(nn.Linear(12, 12), SurmConfig(structure="circulant", route="fft", target_modules=["0"]))
    layer.add_adapter("second", SurmConfig(structure="toeplitz", route="dense", target_modules=["0"]))
    layer.base_model.set_adapter(["default", "second"])
    layer = layer.base_model.model[0]
    deltas = [layer.surm_delta["default"], layer.surm_delta["second"]]
    for delta in deltas:
        for parameter in delta.parameters():
            nn.init.normal_(parameter)
    x, g = input_and_gradient((12, 12), torch.float32)
    total = layer.base_layer.weight.detach().double()
    total = total + oracle("circulant", deltas[0]) + oracle("toeplitz", deltas[1])
    y = layer(x)
    close([y], [F.linear(x.detach().double(), total, layer.base_layer.bias.double())], 1e-5)
    close(torch.autograd.grad(y, x, g), [g.double() @ total], 1e-5)


class FFTs(TorchDispatchMode):
    """The dtypes of everything that enters an FFT."""

    def __init__(self):
        super().__init__()
        self.dtypes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if "_fft_" in function.name():
            self.dtypes.append(args[0].dtype)
        return function(*args, **(kwargs or {}))


@structures
@pytest.mark.parametrize("kind", ["delta", "residual"])
@pytest.mark.parametrize("base", [torch.float32, torch.bfloat16])
def test_half_precision_never_enters_an_fft(name, kind, base):
    """Under autocast, also during backward, and with a bfloat16 backbone; and the answer is as good as its rounding."""
    own = STRUCTURES[name].own_route
    for route in ("auto", "dense", own):
        config = SurmConfig if kind == "delta" else ResidualAdapterConfig
        model = adapted(nn.Linear(24, 24, dtype=base), config(structure=name, route=route, target_modules=["0"]))
        layer = model.base_model.model[0]
        torch.manual_seed(2)
        for parameter in layer.parameters():
            if parameter.requires_grad:
                nn.init.normal_(parameter, std=0.3)
        x = torch.randn(8, 24, dtype=base, requires_grad=True)
        with FFTs() as ffts, torch.autocast("cpu", dtype=torch.bfloat16, enabled=base == torch.float32):
            y = layer(x)
            y.sum().backward()
        assert y.dtype == torch.bfloat16
        assert set(ffts.dtypes) <= {torch.float32, torch.complex64}
        assert bool(ffts.dtypes) or own == "factored" or route != own
        trained = [p for p in layer.parameters() if p.requires_grad]
        assert all(p.grad.dtype == p.dtype == torch.float32 and p.grad.isfinite().all() for p in trained)
        h = F.linear(x.double(), layer.base_layer.weight.double(), layer.base_layer.bias.double())
        if kind == "delta":
            matrix = layer.surm_delta["default"]
            wanted = h + x.double() @ oracle(name, matrix).T
        else:
            matrix, bias = layer.residual_adapter["default"].matrix, layer.residual_adapter["default"].bias
            wanted = h + F.gelu(h @ oracle(name, matrix).T) + bias.double()
        assert (y.double() - wanted).abs().max() <= 0.03 * wanted.abs().max()


@structures
@pytest.mark.parametrize("own", [False, True])
def test_dropout_by_every_route(name, own):
    """The same mask, so the same numbers as a plain dense product on the dropped input."""
    route = STRUCTURES[name].own_route if own else "dense"
    config = SurmConfig(structure=name, route=route, dropout=0.5, alpha=3.0, target_modules=["0"])
    layer = adapted(nn.Linear(8, 12), config).base_model.model[0].train()
    matrix = layer.surm_delta["default"]
    for parameter in matrix.parameters():
        nn.init.normal_(parameter)
    x, g = input_and_gradient((12, 8), torch.float32)
    torch.manual_seed(7)
    y = layer(x)
    answers = [y, *torch.autograd.grad(y, [x, *matrix.parameters()], g)]
    torch.manual_seed(7)
    mask = F.dropout(torch.ones_like(x), 0.5).double()
    weight, bias = layer.base_layer.weight.double(), layer.base_layer.bias.double()
    wanted = exact(lambda dense, x: F.linear(x, weight, bias) + 3 * (mask * x) @ dense.T, matrix, name, x, g)
    close(answers, wanted, 1e-5)


def test_impossible_routes():
    with pytest.raises(UserError, match="route of structure 'circulant' 'factored': choose from auto, dense, fft"):
        SurmConfig(structure="circulant", route="factored")
    with pytest.raises(UserError, match="route of structure 'kronecker' 'fft': choose from auto, dense, factored"):
        ResidualAdapterConfig(structure="kronecker", route="fft")
    with pytest.raises(UserError, match="route=.* is not possible with a bottleneck"):
        ResidualAdapterConfig(bottleneck=4, route="dense")


def test_unknown_routes_of_a_matrix():
    matrix, x = make("circulant", (4, 4)), torch.randn(3, 4, dtype=torch.float64)
    for ask in (matrix, matrix.plan):
        with pytest.raises(ValueError, match="unknown route 'factored': choose from auto, dense, fft"):
            ask(x, "factored")


def test_there_is_no_second_derivative():
    matrix = make("circulant", (4, 4))
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    for route in ("dense", "fft"):
        (first,) = torch.autograd.grad(matrix(x, route).square().sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            first.sum().backward()


@pytest.mark.parametrize("block", [1, 5, 16, 256])
@pytest.mark.parametrize("rows, inner, columns", [(13, 9, 11), (40, 40, 40), (1, 3, 6), (17, 1, 2)])
def test_displacement_recursion_in_steps_of_any_size(rows, inner, columns, block, monkeypatch):
    """Two products and their gradients against dense ones of torch in fp64, whatever the rows of a step: a GPU has
    other ones than a CPU."""
    monkeypatch.setattr(displacement, "BLOCK", block)
    generator = torch.Generator().manual_seed(0)
    left, right = (
        torch.randn(2, n, generator=generator, dtype=torch.float64, requires_grad=True)
        for n in (rows + inner - 1, inner + columns - 1)
    )
    g = torch.randn(rows, columns, generator=generator, dtype=torch.float64)

    def dense(t: Tensor, m: int, n: int) -> Tensor:
        return t[:, torch.arange(m)[:, None] - torch.arange(n) + n - 1]

    wanted = (dense(left, rows, inner) @ dense(right, inner, columns)).sum(0)
    product = toeplitz_product(left, right, rows, inner, columns)
    torch.testing.assert_close(product, wanted, atol=1e-11, rtol=1e-11)
    for answer, exact in zip(
        torch.autograd.grad(product, (left, right), g), torch.autograd.grad(wanted, (left, right), g), strict=True
    ):
        torch.testing.assert_close(answer, exact, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("n", [5, 64, 513, 4096])
@pytest.mark.parametrize("block", [16, 256])
def test_displacement_recursion_holds_in_fp32(n, block, monkeypatch):
    """Forward on some columns, and backward from a gradient of rank one, both against scipy's Toeplitz products in
    fp64: 1e-5 relative at n = 4096."""
    monkeypatch.setattr(displacement, "BLOCK", block)
    generator = np.random.default_rng(0)
    a, b, u, v = generator.standard_normal((4, n))
    columns = generator.choice(n, min(n, 40), replace=False)
    exact = scipy.linalg.matmul_toeplitz(b, scipy.linalg.toeplitz(a)[:, columns])

    def vector(t: np.ndarray) -> Tensor:  # (1, 2n − 1), as toeplitz_product wants it
        return torch.tensor(np.concatenate((t[:0:-1], t)), dtype=torch.float32)[None].requires_grad_()

    left, right = vector(b), vector(a)
    product = toeplitz_product(left, right, n, n, n)
    error = product.detach().double().numpy()[:, columns] - exact
    assert np.linalg.norm(error) <= 1e-6 * np.linalg.norm(exact)
    assert np.abs(error).max() <= 1e-5 * np.abs(exact).max()
    outer = torch.tensor(np.outer(u, v), dtype=torch.float32)
    gradients = torch.autograd.grad(product, [left, right], outer)
    # Σ u·T(b)·w, w = T(a) v, has the gradient Σ u[i] w[j] over i − j in the vector of T(b); and likewise for T(a).
    for answer, first, second in (
        (gradients[0], u, scipy.linalg.matmul_toeplitz(a, v)),
        (gradients[1], scipy.linalg.matmul_toeplitz(b, u), v),
    ):
        wanted = np.correlate(first, second, "full")
        assert np.linalg.norm(answer[0].double().numpy() - wanted) <= 1e-5 * np.linalg.norm(wanted)


@structures
def test_a_smooth_matrix_keeps_its_accuracy(name):
    """All entries alike: the running sum along a diagonal then cancels at each step."""
    matrix = StructuredMatrix(STRUCTURES[name](1024, 1024))
    for parameter in matrix.parameters():
        nn.init.ones_(parameter)
    dense = oracle(name, matrix)
    error = matrix.dense().detach().double() - dense
    assert error.abs().max() <= 1e-5 * dense.abs().max()


def test_cost_rule():
    """The rule's limits: many tokens beside a frozen weight build the matrix once, one token does not; alone, a
    product by n² is dearer than by FFT; where half precision is much faster, products are dense."""

    def rule(name: str, n: int, tokens: int, merged: bool = True, half: bool = False, device: str = "cpu") -> tuple:
        return choose_route(STRUCTURES[name](n, n), tokens, device, merged, half)

    for name, structure in STRUCTURES.items():
        if structure(8, 8).cost is None:
            assert rule(name, 768, 1) == rule(name, 768, 12_608) == ("dense", "dense")
            continue
        own = structure.own_route
        assert rule(name, 768, 12_608).product == "dense"
        assert rule(name, 768, 1) == (own, own)
        assert rule(name, 8192, 12_608, merged=False).product == own
        products = [rule(name, 768, 2**k).product for k in range(20)]
        assert products == sorted(products, key=lambda route: route == "dense")  # one crossing
    assert rule("circulant", 768, 12_608).gradient == "fft"
    assert rule("kronecker", 768, 12_608).gradient == "factored"
    assert rule("circulant", 32, 12_608).gradient == "dense"
    assert rule("circulant", 768, 12_608, merged=False, half=True, device="cuda") == ("dense", "dense")


def test_a_new_structure_needs_three_functions():
    """As docs/own_structure.md says; gradients by its own route then are autograd's."""

    class Diagonal(Structure):
        def start(self) -> dict[str, Tensor]:
            return {"d": torch.randn(self.out_features, dtype=torch.float64)}

        def dense(self, d: Tensor) -> Tensor:
            return torch.diag(d)

        def product(self, x: Tensor, d: Tensor) -> Tensor:
            return x * d

    matrix = StructuredMatrix(Diagonal(5, 5))
    x, g = input_and_gradient((5, 5), torch.float64)
    assert matrix.plan(x, "auto") == ("dense", "dense")
    for route in ("auto", "dense", "factored"):
        gradients = torch.autograd.grad(matrix(x, route), [x, matrix.d], g)
        close(gradients, [g * matrix.d.detach(), (g * x.detach()).sum((0, 1))], 1e-12)
