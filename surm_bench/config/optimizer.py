"""The keys of an optimiser and its schedule."""

from dataclasses import dataclass
from typing import Any

from surm_bench.config.keys import Group, InId, key
from surm_bench.errors import UserError

GRADIENT = ("adamw", "adam", "sgd")  # optimisers that step along the gradient


@dataclass
class OptimizerConfig(Group):
    """The optimiser and its schedule. Biases and norms have no weight decay."""

    group = "optimizer"
    selector = "name"

    name: str = key("adamw | adam | sgd | loko", "adamw", InId.ALWAYS, choices=(*GRADIENT, "loko"))
    lr: float = key("the learning rate; loko: the variance of each parameter at the start", 1e-3, InId.ALWAYS, above=0)
    head_lr: float | None = key(
        "learning rate of the head, which every method trains; null: lr", None, InId.DERIVED, above=0
    )
    weight_decay: float = key(
        "adamw: decoupled (Loshchilov & Hutter 2019); adam, sgd: added to the gradient; loko: none",
        0.0,
        InId.ALWAYS,
        only=GRADIENT,
        least=0,
    )
    betas: tuple[float, float] = key(
        "adamw and adam only: decay of the two moments",
        (0.9, 0.999),
        InId.WHERE_READ,
        only=("adamw", "adam"),
        least=0,
        below=1,
    )
    eps: float = key(
        "adamw and adam only: added to the denominator", 1e-8, InId.WHERE_READ, only=("adamw", "adam"), above=0
    )
    momentum: float = key("sgd only", 0.0, InId.WHERE_READ, only=("sgd",), least=0, below=1)
    schedule: str = key(
        "linear | cosine | constant, after the warm-up",
        "linear",
        InId.ALWAYS,
        only=GRADIENT,
        choices=("linear", "cosine", "constant"),
    )
    warmup_ratio: float = key(
        "the fraction of the steps in which the learning rate rises linearly from 0",
        0.06,
        InId.ALWAYS,
        only=GRADIENT,
        least=0,
        most=1,
    )
    max_grad_norm: float = key(
        "gradients are clipped to this norm; 0: no clipping", 1.0, InId.ALWAYS, only=GRADIENT, least=0
    )
    version: int = key(
        "raised when a change of this optimiser's code changes results beyond rounding", 1, InId.UNLESS_DEFAULT
    )

    def check(self) -> None:
        super().check()
        if len(self.betas) != 2:
            raise UserError(f"{self._shown('betas')} is not possible: give two numbers, as [0.9,0.999]")

    def head_rate_id(self) -> dict[str, Any]:
        """Return the head's learning rate for the identity of a run, if it differs from the learning rate."""
        return {} if self.head_lr in (None, self.lr) else {"optimizer.head_lr": self.head_lr}
