"""fp16 skips a step whose gradients overflow: torch's own scaler, which also works on a CPU, decides it here."""

import pytest
import torch
from accelerate import Accelerator
from peft import AdaLoraConfig, PeftModel, get_peft_model
from torch import nn

from surm_bench.adapters import Lora2Config
from surm_bench.adapters.training_hooks import training_hooks
from surm_bench.config import OptimizerConfig
from surm_bench.training import Hooks, make_accelerator, use_device
from surm_bench.training.optimizers import GradientStep

STEPS = 40
LAYERS = ["0", "2"]


@pytest.fixture
def scaled(monkeypatch) -> Accelerator:
    """An accelerator as accelerate makes it for fp16, with a scaler of the CPU."""
    use_device("cpu")
    accelerator = make_accelerator("no")
    accelerator.scaler, accelerator.native_amp = torch.amp.GradScaler("cpu", init_scale=2.0**16), True
    monkeypatch.setattr(Accelerator, "mixed_precision", property(lambda self: "fp16"))
    return accelerator


def train(model: nn.Module, accelerator: Accelerator, overflows: set[int], hooks: Hooks, name: str = "adamw") -> None:
    """Fit random numbers; the gradients of these steps (from 1) overflow."""
    x, y = torch.randn(2, 32, 16)
    calls = []

    def loss(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return (output - y).square().mean() * (torch.inf if len(calls) in overflows else 1.0)

    optimizer = OptimizerConfig(name=name, lr=0.01, warmup_ratio=0.0)
    step = GradientStep(model, loss, optimizer, STEPS, accelerator, hooks)
    step.model = lambda x: model(x)
    for _ in range(STEPS):
        step({"x": x, "labels": y})


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_a_skipped_step_tells_the_method_nothing(scaled, name):
    told = []

    class Watching(Hooks):
        def after_step(self, step):
            told.append(step)

    train(nn.Linear(16, 16), scaled, {1, 7}, Watching(), name)
    assert told == [step for step in range(1, STEPS + 1) if step not in (1, 7)]


def lora2() -> tuple[PeftModel, str]:
    config = Lora2Config(r=8, target_r=4, k=8, target_modules=LAYERS, interval=1)
    return get_peft_model(network(), config), "e"


def adalora() -> tuple[PeftModel, str]:
    config = AdaLoraConfig(init_r=8, target_r=4, tinit=4, tfinal=20, total_step=STEPS, target_modules=LAYERS)
    return get_peft_model(network(), config), "lora_E.default"


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16))


@pytest.mark.parametrize("method", [lora2, adalora])
@pytest.mark.parametrize("overflows", [set(), {1}])
def test_ranks_are_cut_although_a_step_was_skipped(scaled, method, overflows):
    """Four of eight ranks are left of each of two layers, on average."""
    model, values = method()
    train(model, scaled, overflows, training_hooks(model))
    left = [int((p != 0).sum()) for name, p in model.named_parameters() if name.endswith(f".{values}")]
    assert len(left) == len(LAYERS) and sum(left) == 4 * len(LAYERS)
