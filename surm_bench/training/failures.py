"""The error that ends a training before its last step."""


class Diverged(RuntimeError):
    """A loss, a weight or a logit is not finite. This is a result of the settings and not a technical failure.

    Attributes:
        step: number of completed optimiser steps.
        value: the value that is not finite: NaN or an infinity.
    """

    def __init__(self, what: str, step: int, value: float) -> None:
        super().__init__(f"{what} is {value} at step {step}: lower optimizer.lr or raise optimizer.warmup_ratio")
        self.step, self.value = step, value
