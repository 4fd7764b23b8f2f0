"""The number of operations of a step of one adapted layer at a GPU's sizes. Small models on a GPU wait for launches.

The meta device computes no numbers, and every device but the CPU has a GPU's sizes and routes, so no GPU is needed.
"""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from surm_bench.adapters import ResidualAdapterConfig, SurmConfig

WIDTH = 768
SHAPES = {"RoBERTa-base": (32, 128), "short texts": (32, 40), "ViT-B": (64, 197)}
NO_KERNEL = ("aten::detach", "aten::empty", "aten::promote_types", "aten::_unsafe_view")
DELTAS = ["circulant", "symmetric_toeplitz", "toeplitz", "kronecker", "ldr"]


class Operations(TorchDispatchMode):
    """Count the operations that start work: views and empty tensors start none."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += not function.is_view and not function.name().startswith(NO_KERNEL)
        return function(*args, **(kwargs or {}))


def operations(config, shape: tuple[int, int]) -> int:
    """Count forward and backward of a Linear with an adapter, and one store for the gradient of each trained tensor."""
    with torch.device("meta"):
        model = get_peft_model(nn.Sequential(nn.Linear(WIDTH, WIDTH)), config)
        x = torch.zeros(*shape, WIDTH, requires_grad=True)
        gradient = torch.zeros(*shape, WIDTH)
    with Operations() as counted:
        model(x).backward(gradient)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.is_meta and p.grad is not None for p in trained)
    return counted.count + len(trained)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("structure", DELTAS)
def test_a_delta_starts_at_most_twice_as_many_operations_as_lora(structure, shape):
    lora = operations(LoraConfig(r=8, target_modules=["0"]), shape)
    assert lora == 14  # W·x, A·x, B·A·x, scale, sum; backward of x 2, A 2, B 1, scale, sum of gradients; 2 stores
    assert operations(SurmConfig(structure=structure, target_modules=["0"]), shape) <= 2 * lora


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("structure", DELTAS)
def test_a_residual_adapter_starts_at_most_twice_as_many_operations_as_houlsby(structure, shape):
    houlsby = operations(ResidualAdapterConfig(bottleneck=18, target_modules=["0"]), shape)
    assert houlsby == 18
    assert operations(ResidualAdapterConfig(structure=structure, target_modules=["0"]), shape) <= 2 * houlsby
