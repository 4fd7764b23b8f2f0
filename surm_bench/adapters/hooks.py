"""The interface through which a method adds to the training loop (surm_bench.training)."""

from torch import Tensor


class Hooks:
    """Hooks that add nothing to the loop; methods override them."""

    def begin(self, steps: int) -> None:
        """Prepare for training. Called once before this process's first step, with the steps of the whole run."""

    def penalty(self) -> Tensor | float:
        """Return a term to add to the loss of each batch before the backward pass. Reported losses exclude the term."""
        return 0.0

    def after_step(self, step: int) -> None:
        """Act after an optimiser step, counted from 1. The gradients of the step still exist."""

    def state_dict(self) -> dict:
        """Return everything that changes during training except parameters, as dicts, lists, numbers and tensors."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Restore a state from state_dict, with its tensors on the CPU. Called after begin."""
