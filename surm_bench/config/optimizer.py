"""The keys of an optimiser and its schedule."""

from dataclasses import dataclass
from typing import Any

from surm_bench.config.keys import Group, Part, key

GRADIENT = ("adamw", "adam", "sgd")  # optimisers that step along the gradient


@dataclass
class OptimizerConfig(Group):
    """The optimiser and its schedule. Biases and norms have no weight decay."""

    group = "optimizer"
    selector = "name"

    name: str = key("adamw | adam | sgd | loko", "adamw", Part.ALWAYS, choices=(*GRADIENT, "loko"))
    lr: float = key("the learning rate; loko: the variance of each parameter at the start", 1e-3, Part.ALWAYS, above=0)
    head_lr: float | None = key(
        "learning rate of the head, which every method trains; null: lr", None, Part.DERIVED, above=0
    )
    weight_decay: float = key(
        "adamw: decoupled (Loshchilov & Hutter 2019); adam, sgd: added to the gradient; loko: none",
        0.0,
        Part.ALWAYS,
        only=GRADIENT,
        least=0,
    )
    betas: tuple[float, float] = key(
        "adamw and adam only: decay of the two moments",
        (0.9, 0.999),
        Part.WHERE_READ,
        only=("adamw", "adam"),
        least=0,
        below=1,
    )
    eps: float = key(
        "adamw and adam only: added to the denominator", 1e-8, Part.WHERE_READ, only=("adamw", "adam"), above=0
    )
    momentum: float = key("sgd only", 0.0, Part.WHERE_READ, only=("sgd",), least=0, below=1)
    schedule: str = key(
        "linear | cosine | constant, after the warm-up",
        "linear",
        Part.ALWAYS,
        only=GRADIENT,
        choices=("linear", "cosine", "constant"),
    )
    warmup_ratio: float = key(
        "the fraction of the steps in which the learning rate rises linearly from 0",
        0.06,
        Part.ALWAYS,
        only=GRADIENT,
        least=0,
        most=1,
    )
    max_grad_norm: float = key(
        "gradients are clipped to this norm; 0: no clipping", 1.0, Part.ALWAYS, only=GRADIENT, least=0
    )
    version: int = key(
        "raised when a change of this optimiser's code changes results beyond rounding", 1, Part.UNLESS_DEFAULT
    )

    def head_rate_id(self) -> dict[str, Any]:
        """Return the head's learning rate for the identity of a run, if it differs from the learning rate."""
        return {} if self.head_lr in (None, self.lr) else {"optimizer.head_lr": self.head_lr}
