"""Optimisers by name."""

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import get_scheduler

from surm_bench.adapters.hooks import Hooks
from surm_bench.config import OptimizerConfig
from surm_bench.config.optimizer import GRADIENT
from surm_bench.training.evaluation import forward
from surm_bench.training.kalman import KalmanStep
from surm_bench.training.step import HEAD, Loss, Step

SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class GradientStep(Step):
    """A step by gradients: both passes, clipping, torch's optimiser, the schedule and the method's hooks."""

    def __init__(
        self, model: nn.Module, loss: Loss, config: OptimizerConfig, steps: int, accelerator: Accelerator, hooks: Hooks
    ) -> None:
        super().__init__(model, loss, config, steps, accelerator, hooks)
        self.parameters, self.max_grad_norm = trainable(model), config.max_grad_norm
        groups = parameter_groups(model, config.lr, config.weight_decay, config.head_lr)
        self.optimizer = _optimizer(groups, config, fused=accelerator.scaler is None)
        # Prepared by accelerate only to scale gradients, because preparing costs a small network 3 % of its time.
        if accelerator.scaler is not None:
            self.optimizer = accelerator.prepare_optimizer(self.optimizer)
        self.schedule = get_scheduler(
            SCHEDULES[config.schedule], self.optimizer, round(config.warmup_ratio * steps), steps
        )  # not prepared by accelerate: the schedule counts optimiser steps, equally in every process

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
        return super().state_dict() | {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        moments = {int(index): values for index, values in state["optimizer"]["state"].items()}  # JSON has string keys
        self.optimizer.load_state_dict(state["optimizer"] | {"state": moments})
        self.schedule.load_state_dict(state["schedule"])
        if state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])


OPTIMIZERS: dict[str, type[Step]] = {**dict.fromkeys(GRADIENT, GradientStep), "loko": KalmanStep}


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


def _optimizer(groups: list[dict], config: OptimizerConfig, fused: bool) -> torch.optim.Optimizer:
    """Return the torch optimiser.

    Args:
        fused: one kernel for all parameters, which takes a third of the time, on a CPU too. With fp16 the kernel itself
            skips a step whose gradients overflow, so that accelerate cannot tell that the step was skipped.
    """
    if config.name == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, fused=fused)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.name]
    return kind(groups, betas=tuple(config.betas), eps=config.eps, fused=fused)
