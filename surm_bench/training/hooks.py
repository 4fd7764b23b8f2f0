"""What a method may add to the loop."""

from torch import Tensor


class Hooks:
    """This one adds nothing."""

    def begin(self, steps: int) -> None:
        """Called once before the first step of this process, with the number of optimiser steps of the whole run."""

    def penalty(self) -> Tensor | float:
        """A term added to each batch's loss before its gradients are taken; reported losses are without it."""
        return 0.0

    def after_step(self, step: int) -> None:
        """Called after each optimiser step, counted from 1, with its gradients still in place."""

    def state_dict(self) -> dict:
        """What changes from step to step beside the trained parameters: dicts, lists, numbers and tensors."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Go on from such a state; called after begin. Tensors come on the CPU."""
