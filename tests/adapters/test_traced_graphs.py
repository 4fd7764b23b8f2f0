"""Every method in traced graphs: compiled as one graph, exported, and traced, against the model itself."""

import pytest
import torch
from peft import get_peft_model
from support.cases import slow_but
from support.methods import BESIDE, DELTAS, LITERATURE, RESIDUALS, attached
from torch import Tensor, nn

from surm_bench.adapters import ResidualAdapterConfig, SurmConfig

IDS = torch.arange(21).view(3, 7) % 20
NAMES = [*DELTAS, *RESIDUALS, *LITERATURE, *BESIDE]
methods = pytest.mark.parametrize("name", slow_but(["circulant", "adapter_symmetric_toeplitz"], NAMES))


class Logits(nn.Module):
    """The model's logits alone, because a traced graph returns tensors."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        return self.model(input_ids=ids).logits


def check_compiled(model: nn.Module, x: Tensor) -> None:
    """Compare the answer and the gradients, up to rounding: a graph takes the dense route, whatever the tokens."""
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    parameters = [p for p in model.parameters() if p.requires_grad]
    pairs = [(compiled(x), model(x))]
    pairs += zip(*(torch.autograd.grad(y.float().square().sum(), parameters) for y in pairs[0]), strict=True)
    tolerance = 1e-4 if pairs[0][0].dtype == torch.float32 else 3e-2
    for answer, wanted in pairs:
        torch.testing.assert_close(answer, wanted, rtol=0, atol=tolerance * wanted.abs().max().item())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_compiled_as_one_graph(name):
    check_compiled(Logits(attached(name)).eval(), IDS)


@pytest.mark.parametrize("config", [SurmConfig, ResidualAdapterConfig])
@pytest.mark.parametrize("bf16", [False, True])
def test_an_adapted_layer_compiled_as_one_graph(config, bf16):
    """In fp32, and under autocast, where W₀ + ΔW is rounded once."""
    model = get_peft_model(nn.Sequential(nn.Linear(12, 12)), config(structure="ldr", target_modules=["0"]))
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        check_compiled(model, torch.randn(5, 12))


@methods
def test_exported(name):
    model = Logits(attached(name)).eval()
    torch.testing.assert_close(torch.export.export(model, (IDS,)).module()(IDS), model(IDS))


@methods
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_traced_saved_and_loaded(name, tmp_path):
    model = Logits(attached(name)).eval()
    torch.jit.trace(model, (IDS,)).save(str(tmp_path / "traced.pt"))
    torch.testing.assert_close(torch.jit.load(tmp_path / "traced.pt")(IDS), model(IDS))
