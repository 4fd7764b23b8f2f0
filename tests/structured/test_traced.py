"""Structures in traced graphs, and the operations that a GPU gets, against dense linear algebra in fp64."""

import pytest
import torch
from support.oracles import oracle
from torch import Tensor, nn

from surm_bench.structured import STRUCTURES, StructuredMatrix, diagonals, filtered, linear, matrix, residual, toeplitz

structures = pytest.mark.parametrize("name", STRUCTURES)
sizes = pytest.mark.parametrize("size", [(7, 7), (36, 36), (40, 24), (9, 45), (1, 1)], ids=str)


def drawn(name: str, size: tuple[int, int], **options) -> StructuredMatrix:
    torch.manual_seed(0)
    made = StructuredMatrix(STRUCTURES[name](*size, **options)).double()
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    return made


def check(name: str, made: StructuredMatrix, route: str, product=None) -> None:
    """Compare y and all gradients with those of the oracle's dense matrix."""
    x = torch.randn(2, 3, made.in_features, dtype=torch.float64, requires_grad=True)
    g = torch.randn(2, 3, made.out_features, dtype=torch.float64)
    leaves = {key: value.detach().requires_grad_() for key, value in made.named_parameters()}
    wanted = x @ oracle(name, made, leaves).T
    exact = [wanted, *torch.autograd.grad(wanted, [x, *leaves.values()], g)]
    y = (made if product is None else product)(x, route)
    answers = [y, *torch.autograd.grad(y, [x, *made.parameters()], g)]
    for answer, want in zip(answers, exact, strict=True):
        torch.testing.assert_close(answer, want, rtol=1e-11, atol=1e-11)


@structures
@sizes
def test_operations_of_a_gpu(name, size, monkeypatch):
    """The dense matrix as one matrix product, and gradients by plain operations."""
    for module in (filtered, linear, toeplitz):
        monkeypatch.setattr(module, "prefers_few_operations", lambda device: True)
    check(name, drawn(name, size), "dense")


@pytest.mark.parametrize("name", ["ldr", "low_rank"])
def test_several_terms_on_a_gpu(name, monkeypatch):
    monkeypatch.setattr(filtered, "prefers_few_operations", lambda device: True)
    check(name, drawn(name, (20, 18), r=3), "dense")


@structures
@sizes
@pytest.mark.parametrize("own", [False, True])
def test_operations_of_a_graph(name, size, own, monkeypatch):
    for module in (diagonals, linear, matrix, residual):
        monkeypatch.setattr(module, "is_traced", lambda: True)
    check(name, drawn(name, size), STRUCTURES[name].own_route if own else "auto")


@structures
@pytest.mark.parametrize("own", [False, True])
def test_compiled(name, own):
    """Forward and backward compile as one graph, and agree with the dense product."""
    made = drawn(name, (20, 18))
    torch._dynamo.reset()
    compiled = torch.compile(made, fullgraph=True, backend="aot_eager", dynamic=False)
    check(name, made, STRUCTURES[name].own_route if own else "auto", compiled)


@structures
def test_exported_for_any_number_of_tokens(name):
    made = drawn(name, (20, 18))
    x = torch.randn(5, 18, dtype=torch.float64)
    exported = torch.export.export(made, (x, "auto"), dynamic_shapes=({0: torch.export.Dim.AUTO}, None)).module()
    more = torch.randn(11, 18, dtype=torch.float64)
    torch.testing.assert_close(exported(more, "auto"), more @ oracle(name, made).T)


@structures
def test_traced_saved_and_loaded(name, tmp_path):
    made = drawn(name, (20, 18))

    class Auto(nn.Module):
        def __init__(self):
            super().__init__()
            self.made = made

        def forward(self, x: Tensor) -> Tensor:
            return self.made(x, "auto")

    traced = torch.jit.trace(Auto(), torch.randn(5, 18, dtype=torch.float64))
    traced.save(str(tmp_path / "traced.pt"))
    more = torch.randn(11, 18, dtype=torch.float64)
    torch.testing.assert_close(torch.jit.load(tmp_path / "traced.pt")(more), more @ oracle(name, made).T)
