"""A delta far smaller than the rounding steps of half precision still reaches the answer."""

import pytest
import torch
from peft import get_peft_model
from torch import nn

from surm_bench.adapters import SurmConfig
from surm_bench.adapters.methods.surm import SurmLinear


def small_delta(base_dtype: torch.dtype) -> tuple[torch.Tensor, SurmLinear]:
    """Inputs, and a layer with a delta of 1e-5 beside weights of 0.04, on which bfloat16 has steps of 2e-4."""
    torch.manual_seed(0)
    linear = nn.Linear(256, 256, bias=False)
    linear.weight.data.uniform_(0.03, 0.05).mul_(torch.randn(256, 256).sign())
    config = SurmConfig(structure="toeplitz", target_modules=["0"])
    layer = get_peft_model(nn.Sequential(linear.to(base_dtype)), config).base_model.model[0]
    layer.surm_delta["default"].t.data.normal_(std=1e-5)
    return torch.randn(4096, 256, dtype=base_dtype), layer


@torch.no_grad()
def test_a_small_delta_survives_autocast():
    """It is added to W0 first, whose own digits dither the rounding: against fp64 the answer is as good as the frozen
    layer's alone, and the slope of what the delta changed on what it should have changed is 1. Added behind the
    product, it would be lost on the grid of y."""
    x, layer = small_delta(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer._one_product(["default"], x)
        frozen, answer = layer.base_layer(x).double(), layer(x).double()
    exact = x.double() @ layer.base_layer.weight.double().T
    wanted = x.double() @ layer.surm_delta["default"].dense().double().T
    assert (answer - exact - wanted).norm() <= 1.05 * (frozen - exact).norm()
    assert ((answer - frozen) * wanted).sum() / wanted.square().sum() == pytest.approx(1, abs=0.25)


@torch.no_grad()
def test_a_small_delta_beside_half_precision_weights():
    """W0 on bfloat16's grid would swallow the delta whole: it has a product of its own, as good as its rounding."""
    x, layer = small_delta(torch.bfloat16)
    delta = layer.surm_delta["default"]
    assert not layer._one_product(["default"], x)
    exact = x.double() @ delta.dense().double().T
    assert (delta(x).double() - exact).norm() <= 0.01 * exact.norm()
