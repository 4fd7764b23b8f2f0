"""Whole models with random weights: a training step with each adapter, and inference after merging."""

from collections.abc import Callable, Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from surm_bench.adapters.build import attach
from surm_bench.adapters.roles import find_roles
from surm_bench.benchmark.memory import size_of, step_peak
from surm_bench.benchmark.plan import BenchmarkPlan
from surm_bench.benchmark.setting import Setting
from surm_bench.benchmark.timing import compare, take_turns
from surm_bench.config import Config
from surm_bench.config.composition import resolved
from surm_bench.models import build_skeleton
from surm_bench.training import forward, trainable

TASKS = {"minilm": "glue/rte", "roberta_base": "glue/rte", "vit_base": "images/cifar10"}
LENGTH = 128  # tokens of a text
INITIAL_STD = 0.02


def config_of(model: str, adapter: str) -> Config:
    """Return the configuration of a run."""
    return resolved([f"model={model}", f"task={TASKS[model]}", f"adapter={adapter}"])


def random_backbone(config: Config) -> nn.Module:
    """Return the architecture with random weights: pretrained weights would take the same time."""
    module = build_skeleton(config.model, config.task.num_labels).to_empty(device="cpu")
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=INITIAL_STD)
    for layer in module.modules():
        if isinstance(layer, nn.LayerNorm):
            nn.init.ones_(layer.weight)
    for name, buffer in module.named_buffers():  # RoBERTa's: position indices, and the index of the text in a pair
        buffer.copy_(torch.arange(buffer.shape[-1]) if name.endswith("position_ids") else torch.zeros_like(buffer))
    return module


def random_batch(config: Config, size: int, device: str) -> tuple[dict[str, Tensor], Tensor]:
    """Return inputs of the model, and labels."""
    if config.model.family == "text":
        tokens = torch.randint(5, 30_000, (size, LENGTH), device=device)
        inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    else:
        inputs = {"x": torch.randn(size, 3, 224, 224, device=device)}
    return inputs, torch.randint(config.task.num_labels, (size,), device=device)


def training_step(module: nn.Module, config: Config, setting: Setting, size: int) -> tuple[Callable, Callable]:
    """Return the step (forward, loss, backward, AdamW), and a function that returns all tensors kept between steps."""
    torch.manual_seed(1)
    inputs, labels = random_batch(config, size, setting.device)
    optimizer = torch.optim.AdamW(trainable(module), lr=1e-3)

    def step() -> None:
        with setting.autocast():
            loss = nn.functional.cross_entropy(forward(module, inputs), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def tensors() -> list[Tensor]:
        state = [value for values in optimizer.state.values() for value in values.values()]
        return [*module.parameters(), *module.buffers(), *(value for value in state if torch.is_tensor(value))]

    return step, tensors


def delta_costs(setting: Setting, plan: BenchmarkPlan) -> pd.DataFrame:
    """Return the costs of a training step with weight deltas: LoRA and the plan's structures, in each model."""
    frames = [step_costs(setting, plan, model, "lora", plan.structures) for model in plan.models]
    return pd.concat(frames, ignore_index=True)


def residual_costs(setting: Setting, plan: BenchmarkPlan) -> pd.DataFrame:
    """Return the costs of a training step with residual adapters: Houlsby's and circulant, in the first model."""
    return step_costs(setting, plan, plan.models[0], "adapter_houlsby", ("adapter_circulant",))


def step_costs(
    setting: Setting, plan: BenchmarkPlan, model: str, reference: str, adapters: Sequence[str]
) -> pd.DataFrame:
    """Return one row per adapter: milliseconds of a training step, ratio to the reference, and bytes at the peak.

    The reference is an adapter, too, and has the first row. Further columns name the model and the reference.
    """
    steps, tensors = {}, {}
    for adapter in (reference, *adapters):
        torch.manual_seed(0)
        config = config_of(model, adapter)
        module = random_backbone(config)
        module = attach(module, find_roles(name for name, _ in module.named_modules()), config.adapter)
        module = setting.place(module.train())
        steps[adapter], tensors[adapter] = training_step(module, config, setting, plan.batch)
    rows = compare(take_turns(steps, setting.device, plan.rounds, plan.network_seconds), reference)
    rows["bytes"] = [size_of(tensors[case]()) + step_peak(steps[case], setting.device) for case in steps]
    return rows.assign(model=model, reference=reference)


def merged_times(setting: Setting, plan: BenchmarkPlan) -> pd.DataFrame:
    """Time inference of each plain backbone ("plain") and of the backbone with a merged circulant delta ("merged")."""
    return pd.concat([_merged_times(setting, plan, model) for model in plan.models], ignore_index=True)


def _merged_times(setting: Setting, plan: BenchmarkPlan, model: str) -> pd.DataFrame:
    config = config_of(model, "circulant")
    torch.manual_seed(0)
    plain, base = random_backbone(config), random_backbone(config)
    roles = find_roles(name for name, _ in base.named_modules())
    merged = attach(base, roles, config.adapter).merge_and_unload()
    inputs, _ = random_batch(config, plan.batch, setting.device)

    def inference(module: nn.Module) -> Callable[[], Tensor]:
        module = setting.place(module.eval())

        @torch.no_grad()
        def step() -> Tensor:
            with setting.autocast():
                return forward(module, inputs)

        return step

    steps = {"plain": inference(plain), "merged": inference(merged)}
    times = take_turns(steps, setting.device, plan.rounds, plan.network_seconds)
    return compare(times, "plain").assign(model=model)
