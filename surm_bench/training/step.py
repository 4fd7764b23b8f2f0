"""The interface of an optimiser, which performs a whole training step: it changes the parameters by one batch."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from accelerate import Accelerator
from torch import Tensor, nn

from surm_bench.adapters.hooks import Hooks
from surm_bench.config import OptimizerConfig

HEAD = ".modules_to_save."  # in the names of the head's modules and parameters, which PEFT trains fully

Loss = Callable[[Tensor, Tensor], Tensor]  # logits, labels -> scalar


class Step(ABC):
    """One optimiser step for each batch.

    Args:
        model: the model, prepared by the accelerator.
        loss: logits, labels -> scalar.
        steps: number of optimiser steps of the run.
        hooks: the method's hooks.

    Attributes:
        step: number of completed steps.
        grad_norm: the norm of all gradients of the last step before clipping, on the device; None without clipping.
    """

    grad_norm: Tensor | None = None

    def __init__(
        self, model: nn.Module, loss: Loss, config: OptimizerConfig, steps: int, accelerator: Accelerator, hooks: Hooks
    ) -> None:
        self.model, self.loss, self.accelerator, self.hooks = model, loss, accelerator, hooks
        self.step = 0
        hooks.begin(steps)

    @abstractmethod
    def __call__(self, *parts: dict[str, Tensor]) -> Tensor:
        """Change the parameters by a batch in one or several parts. Return the mean loss before the step, detached."""

    @property
    @abstractmethod
    def lr(self) -> float:
        """The learning rate of the next step."""

    def state_dict(self) -> dict:
        """Return everything that changes from step to step, except the parameters."""
        return {"step": self.step, "hooks": self.hooks.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Continue from a state of state_dict."""
        self.step = state["step"]
        self.hooks.load_state_dict(state["hooks"])
