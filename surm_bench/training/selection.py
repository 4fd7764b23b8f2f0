"""Choose the best epoch on held-out rows, for early stopping and for keeping its parameters."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from surm_bench.adapters.hooks import Hooks
from surm_bench.tasks import Objective

SPLIT = "validation"  # never the reported split: choosing an epoch by its reported score makes the score too good


def is_best(objective: Objective, evaluations: Sequence[dict]) -> bool:
    """Whether the last evaluation is better than all earlier evaluations."""
    return objective.best(evaluations, SPLIT) is evaluations[-1]


def is_exhausted(objective: Objective, evaluations: Sequence[dict], patience: int | None) -> bool:
    """Whether none of the last ``patience`` evaluations beat the best earlier evaluation. False if patience is None."""
    if patience is None or len(evaluations) <= patience:
        return False
    return objective.best(evaluations, SPLIT) in evaluations[:-patience]


class Kept:
    """A copy of the model's tensors and of the hooks' state at the best epoch so far.

    Args:
        tensors: the tensors that training may change, by name.
        hooks: the method's hooks, whose state belongs to the tensors.
    """

    def __init__(self, tensors: dict[str, Tensor], hooks: Hooks) -> None:
        self.tensors, self.hooks = tensors, hooks
        self.state: dict = {}

    @torch.no_grad()
    def keep(self) -> None:
        """Copy the current tensors and state of the hooks."""
        tensors = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
        self.state = {"tensors": tensors, "hooks": copy.deepcopy(self.hooks.state_dict())}

    @torch.no_grad()
    def restore(self) -> None:
        """Set tensors and hooks to the kept copy, if there is a copy."""
        if self.state:
            for name, tensor in self.tensors.items():
                tensor.copy_(self.state["tensors"][name])
            self.hooks.load_state_dict(self.state["hooks"])
