"""A small run that can be stopped at any step, and the comparison of a resumed run with one that was not stopped."""

import random
import signal

import numpy as np
import torch
from torch import nn
from torch.utils.data import default_collate

from surm_bench.config import AdapterConfig, Config, OptimizerConfig, TaskConfig, TrainerConfig
from surm_bench.tasks import Classification, TaskData
from surm_bench.training import Checkpoint, History, Hooks, fit


class Stopper:
    """Another's hooks, and a signal (or an error) after a step; or, as a log, after the scores of a step are logged."""

    def __init__(self, inner: Hooks, step: int | None = None, output: int | None = None, act=None) -> None:
        self.inner, self.step, self.output = inner, step, output
        self.act = act or (lambda: signal.raise_signal(signal.SIGTERM))

    def __getattr__(self, name: str):
        return getattr(self.inner, name)

    def after_step(self, step: int) -> None:
        self.inner.after_step(step)
        if step == self.step:
            self.act()

    def log(self, values: dict, step: int) -> None:
        if step == self.output and any(name.startswith("eval/") for name in values):
            self.act()


def disturb(model: nn.Module) -> None:
    """Other trained parameters, buffers and random streams, as a process on another machine may have them."""
    torch.manual_seed(12345)
    np.random.seed(12345)
    random.seed(12345)
    trained = [parameter.data for parameter in model.parameters() if parameter.requires_grad]
    for tensor in [*trained, *(buffer for buffer in model.buffers() if buffer.is_floating_point())]:
        tensor += torch.randn_like(tensor)


def assert_same(found: tuple[History, dict], wanted: tuple[History, dict]) -> None:
    (history, parameters), (expected, expected_parameters) = found, wanted
    assert history.evaluations == expected.evaluations
    assert (history.examples, len(history.step_seconds)) == (expected.examples, len(expected.step_seconds))
    for split, logits in expected.predictions.items():
        assert np.array_equal(history.predictions[split], logits)
        assert np.array_equal(history.labels[split], expected.labels[split])
        assert history.labels[split].dtype == expected.labels[split].dtype
    assert all(torch.equal(parameters[name], value) for name, value in expected_parameters.items())


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(nn.functional.dropout(torch.tanh(self.hidden(x)), 0.3, self.training))


def small(
    checkpoint: Checkpoint | None = None, hooks: Hooks | None = None, disturbed: bool = True
) -> tuple[History, dict[str, torch.Tensor]]:
    """Train on 50 examples in batches of 4, two epochs: 13 steps an epoch, or 7 for each of two processes.

    Args:
        disturbed: start elsewhere where there is a state to read, so that everything must come from the state.
    """
    torch.manual_seed(0)
    x = torch.randn(50, 6)
    data = [{"x": row, "labels": row[:3].argmax()} for row in x]
    model = Dropping()
    if disturbed and checkpoint is not None and checkpoint.file.exists():
        disturb(model)
    settings = Config(
        task=TaskConfig(name="t"),
        adapter=AdapterConfig(label="a"),
        optimizer=OptimizerConfig(lr=0.01),
        trainer=TrainerConfig(epochs=2, batch_size=4, progress=False),
    )
    task = TaskData(data, {"reported": data[:20]}, default_collate, None, {})
    history = fit(model, task, Classification("accuracy", "accuracy"), settings, hooks=hooks, checkpoint=checkpoint)
    return history, {name: p.detach().clone() for name, p in model.named_parameters()}
