"""Optimisers by name. An optimiser performs a whole training step: it changes the parameters by one batch."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import get_scheduler

from surm_bench.adapters.hooks import Hooks
from surm_bench.config import OptimizerConfig
from surm_bench.training.evaluation import forward
from surm_bench.training.kalman import KalmanStep

SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
HEAD = ".modules_to_save."  # in the names of modules that PEFT trains fully beside an adapter: the head

Loss = Callable[[Tensor, Tensor], Tensor]  # logits, labels -> scalar


class Step(Protocol):
    """One optimiser step for each batch."""

    def __call__(self, *parts: dict[str, Tensor]) -> Tensor:
        """Change the parameters by a batch in one or several parts. Return the mean loss before the step, detached."""

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""

    @property
    def grad_norm(self) -> Tensor | None:
        """The norm of all gradients of the last step before clipping, on the device; None without clipping."""

    def state_dict(self) -> dict:
        """Return everything that changes from step to step, except the parameters."""

    def load_state_dict(self, state: dict) -> None:
        """Continue from a state of state_dict."""


class GradientStep:
    """A step by gradients: forward pass, loss, gradients, clipping, torch optimiser, schedule and the method's hooks.

    Args:
        make: parameter groups, config -> the optimiser.
        model: the model, prepared by the accelerator.
        loss: logits, labels -> scalar.
        steps: number of optimiser steps of the run, for the schedule.
    """

    def __init__(
        self,
        make: Callable[[list[dict], OptimizerConfig], torch.optim.Optimizer],
        model: nn.Module,
        loss: Loss,
        config: OptimizerConfig,
        steps: int,
        accelerator: Accelerator,
        hooks: Hooks,
    ) -> None:
        self.model, self.loss, self.accelerator, self.hooks = model, loss, accelerator, hooks
        self.parameters, self.max_grad_norm = trainable(model), config.max_grad_norm
        self.optimizer = make(parameter_groups(model, config.lr, config.weight_decay, config.head_lr), config)
        # Prepared by accelerate only to scale gradients, because preparing costs a small network 3 % of its time.
        if accelerator.scaler is not None:
            self.optimizer = accelerator.prepare_optimizer(self.optimizer)
        self.schedule = get_scheduler(
            SCHEDULES[config.schedule], self.optimizer, round(config.warmup_ratio * steps), steps
        )  # not prepared by accelerate: the schedule counts optimiser steps, equally in every process
        self.step = 0
        self.grad_norm: Tensor | None = None
        hooks.begin(steps)

    def __call__(self, *parts: dict[str, Tensor]) -> Tensor:
        """Step with the gradients of the mean loss over the rows of all parts: the parts' gradients are summed."""
        rows = sum(len(part["labels"]) for part in parts)
        *before, last = parts
        values = []
        for part in before:
            with self.accelerator.no_sync(self.model):  # processes exchange gradients once, at the last part
                value = self._share(part, rows)
                self.accelerator.backward(value)
            values.append(value.detach())
        value = self._share(last, rows)
        self.accelerator.backward(value + self.hooks.penalty())
        if self.max_grad_norm:
            self.grad_norm = self.accelerator.clip_grad_norm_(self.parameters, self.max_grad_norm)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        if not self.accelerator.optimizer_step_was_skipped:  # fp16 skips a step whose gradients overflow
            self.hooks.after_step(self.step)
        self.optimizer.zero_grad()
        return sum(values, value.detach())

    def _share(self, part: dict[str, Tensor], rows: int) -> Tensor:
        """Return the part's share of the mean loss of a batch of ``rows`` rows."""
        inputs = {name: tensor for name, tensor in part.items() if name != "labels"}
        with self.accelerator.autocast():
            value = self.loss(forward(self.model, inputs), part["labels"])
        own = len(part["labels"])
        return value if own == rows else value * (own / rows)

    @property
    def lr(self) -> float:
        return self.schedule.get_last_lr()[0]

    def state_dict(self) -> dict:
        scaler = self.accelerator.scaler
        return {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "step": self.step,
            "hooks": self.hooks.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        moments = {int(index): values for index, values in state["optimizer"]["state"].items()}  # JSON has string keys
        self.optimizer.load_state_dict(state["optimizer"] | {"state": moments})
        self.schedule.load_state_dict(state["schedule"])
        if state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.hooks.load_state_dict(state["hooks"])


# Fused optimisers use one kernel for all parameters. On a CPU, too, they take a third of the time of unfused ones.
def _adamw(groups: list[dict], config: OptimizerConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, betas=tuple(config.betas), eps=config.eps, fused=True)


def _adam(groups: list[dict], config: OptimizerConfig) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, betas=tuple(config.betas), eps=config.eps, fused=True)


def _sgd(groups: list[dict], config: OptimizerConfig) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, momentum=config.momentum, fused=True)


# name -> (model, loss, config, steps, accelerator, hooks) -> Step
OPTIMIZERS: dict[str, Callable[..., Step]] = {
    "adamw": partial(GradientStep, _adamw),
    "adam": partial(GradientStep, _adam),
    "sgd": partial(GradientStep, _sgd),
    "loko": partial(KalmanStep, lambda module: HEAD in f"{module}."),
}


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that require gradients."""
    return [p for p in model.parameters() if p.requires_grad]


def parameter_groups(model: nn.Module, lr: float, weight_decay: float, head_lr: float | None = None) -> list[dict]:
    """Return the trainable parameters, with a group for each pair of learning rate and weight decay.

    Biases and parameters of norms have no weight decay. A vector that defines a structured matrix is a weight and has
    weight decay. The usual rule, no decay for parameters with fewer than two axes, would exclude such vectors.

    Args:
        head_lr: the learning rate of the head, the modules in PEFT's modules_to_save; None: ``lr``.
    """
    spared = {
        id(parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if name == "bias" or isinstance(module, NORMS)
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = head_lr if head_lr is not None and HEAD in name else lr
            groups.setdefault((rate, 0.0 if id(parameter) in spared else weight_decay), []).append(parameter)
    return [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]
