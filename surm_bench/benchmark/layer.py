"""One adapted linear layer, forward and backward: its own weight is frozen, its input has a gradient."""

from collections.abc import Callable

import pandas as pd
import torch
from peft import C3AConfig, LoKrConfig, LoraConfig, PeftConfig, get_peft_model
from torch import Tensor, nn

from surm_bench.adapters import SurmConfig
from surm_bench.benchmark.memory import size_of, step_peak
from surm_bench.benchmark.plan import STRUCTURED, BenchmarkPlan
from surm_bench.benchmark.setting import Setting
from surm_bench.benchmark.timing import compare, take_turns
from surm_bench.structured import STRUCTURES
from surm_bench.structured.routes import routes

FROZEN, RFFT = "frozen layer", "plain rfft"
REFERENCE, C3A, LOKR = "LoRA r=8, PEFT", "C3A, PEFT", "LoKr r=8, PEFT"


class PlainFFT(nn.Module):
    """W0·x + C(c)·x in its simplest form: each step on all tokens, and autograd keeps the tensors that it needs."""

    def __init__(self, side: int):
        super().__init__()
        self.base = frozen_layer(side)
        self.c = nn.Parameter(torch.zeros(side))

    def forward(self, x: Tensor) -> Tensor:
        n = len(self.c)
        with torch.autocast(x.device.type, enabled=False):
            delta = torch.fft.irfft(torch.fft.rfft(x.float()) * torch.fft.rfft(self.c), n=n)
        return self.base(x) + delta


def frozen_layer(side: int) -> nn.Linear:
    """Return a square Linear without gradients."""
    return nn.Linear(side, side).requires_grad_(False)


def adapted(config: PeftConfig, side: int) -> nn.Module:
    """Return a frozen layer with a PEFT adapter; every trained parameter is random."""
    module = get_peft_model(nn.Sequential(frozen_layer(side)), config)
    for parameter in module.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.02)
    return module


def structured(structure: str, route: str, side: int) -> nn.Module:
    """Return a frozen layer with a structured delta of this package."""
    return adapted(SurmConfig(structure=structure, route=route, target_modules=["0"]), side)


def cases(side: int) -> dict[str, Callable[[], nn.Module]]:
    """Return the function that makes the module of each case, by name."""

    def lora(r: int) -> Callable[[], nn.Module]:
        return lambda: adapted(LoraConfig(r=r, lora_alpha=r, target_modules=["0"]), side)

    others = {
        FROZEN: lambda: frozen_layer(side),
        REFERENCE: lora(8),
        "LoRA r=1, PEFT": lora(1),
        C3A: lambda: adapted(C3AConfig(block_size=side, target_modules=["0"]), side),
        LOKR: lambda: adapted(LoKrConfig(r=8, target_modules=["0"]), side),
        RFFT: lambda: PlainFFT(side),
    }
    ours = {
        case_name(structure, route): lambda structure=structure, route=route: structured(structure, route, side)
        for structure in STRUCTURED
        for route in routes(STRUCTURES[structure])
    }
    return others | ours


def case_name(structure: str, route: str) -> str:
    """Return the name of the case of a structure and a route."""
    return f"{structure}, {route}"


def step_of(module: nn.Module, x: Tensor, g: Tensor, setting: Setting) -> Callable[[], None]:
    """Return a step: forward and backward, after which the gradients are dropped."""

    def step() -> None:
        with setting.autocast():
            y = module(x)
        y.backward(g.to(y.dtype))
        x.grad = None
        module.zero_grad(set_to_none=True)

    return step


def layer_costs(setting: Setting, plan: BenchmarkPlan) -> pd.DataFrame:
    """Return one row per case: milliseconds, ratio to LoRA r=8 with quartiles, and the bytes of module and step."""
    torch.manual_seed(0)
    x = torch.randn(plan.tokens, plan.side, device=setting.device, requires_grad=True)
    g = torch.randn(plan.tokens, plan.side, device=setting.device)
    modules = {case: setting.place(make()) for case, make in cases(plan.side).items()}
    steps = {case: step_of(module, x, g, setting) for case, module in modules.items()}
    rows = compare(take_turns(steps, setting.device, plan.layer_rounds, plan.layer_seconds), REFERENCE)
    rows["bytes"] = [size_of(modules[case].parameters()) + step_peak(steps[case], setting.device) for case in steps]
    return rows
