"""Adapters of every method on one Linear, and layers that are more than a plain Linear."""

import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from peft import PeftModel, get_peft_model
from support.methods import BESIDE, DELTAS, LITERATURE, RESIDUALS, method
from support.roberta import D, stir
from torch import nn
from torch.nn.utils import parametrizations, prune

from surm_bench.adapters import (
    SurmConfig,
)

TOKENS = 600  # enough for the cost rule to prefer one product
FIRST = {"target_modules": ["0"]}
HEADS = {"lorta": {"heads": 4}, "lora_pevit": {"heads": 4}}
ON_LINEAR = [*DELTAS, *RESIDUALS, *LITERATURE, *sorted(BESIDE.keys() - {"adaptformer"})]
MERGEABLE = ["circulant", *LITERATURE]  # all structures are one layer
SHARING = ("lorta", "kadaptation", "aurora", "fact", "repadapter", "compacter")

on_linear = pytest.mark.parametrize("name", ON_LINEAR)
mergeable = pytest.mark.parametrize("name", MERGEABLE)


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(D, D)


def x(count: int = 7) -> torch.Tensor:
    return torch.randn(2, count, D, generator=torch.Generator().manual_seed(3))


def config_of(name: str):
    """On the layer "0", whatever the method takes without a target."""
    if name == "surm":
        return SurmConfig(structure="toeplitz", route="dense", **FIRST)
    if name in DELTAS or name in RESIDUALS:
        return method(name, **FIRST)
    made, own = (LITERATURE | BESIDE)[name]
    return made(**own | FIRST | HEADS.get(name, {}))


def tuned(name: str, layer: nn.Module) -> PeftModel:
    torch.manual_seed(1)
    return stir(get_peft_model(nn.Sequential(layer), config_of(name))).eval()


class Doubling(nn.Linear):
    def forward(self, x, scale=2):
        return scale * super().forward(x)


class Codes(nn.Linear):
    """int8 codes and a scale for each row, as quantisers have them."""

    def __init__(self, of: nn.Linear):
        super().__init__(of.in_features, of.out_features)
        self.scale = of.weight.detach().abs().amax(1, keepdim=True) / 127
        codes = (of.weight.detach() / self.scale).round().to(torch.int8)
        self.weight, self.bias = nn.Parameter(codes, requires_grad=False), of.bias

    def forward(self, x):
        return nn.functional.linear(x, self.weight * self.scale, self.bias)


def doubling() -> nn.Linear:
    made = Doubling(D, D)
    made.load_state_dict(linear().state_dict())
    return made


def replaced() -> nn.Linear:
    made = linear()
    made.forward = lambda x: 3 * nn.functional.linear(x, made.weight, made.bias)
    return made


def hooked() -> nn.Linear:
    made = linear()
    made.register_forward_hook(lambda module, inputs, y: -y)
    return made


def pre_hooked() -> nn.Linear:
    made = linear()
    made.register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],))
    return made


def hooked_by_accelerate() -> nn.Linear:
    class Halving(ModelHook):
        def post_forward(self, module, y):
            return y / 2

    return add_hook_to_module(linear(), Halving())


OTHERS = {
    "accelerate's hook": hooked_by_accelerate,
    "own forward": doubling,
    "instance's forward": replaced,
    "hook": hooked,
    "pre-hook": pre_hooked,
    "codes": lambda: Codes(linear()),
    "weight_norm": lambda: parametrizations.weight_norm(linear()),
    "spectral_norm": lambda: parametrizations.spectral_norm(linear()).eval(),
    "old weight_norm": lambda: nn.utils.weight_norm(linear()),
    "pruned": lambda: prune.l1_unstructured(linear(), "weight", 0.5),
}
others = pytest.mark.parametrize("base", OTHERS)
