"""Why a training ends before its last step."""


class TrainingFailed(RuntimeError):
    """Training cannot go on; one line says at which step and why."""


class Diverged(TrainingFailed):
    """A loss, a weight or a logit is not finite: an outcome of these settings, not an accident.

    Attributes:
        step: optimiser steps done.
        value: what was found, NaN or an infinity.
    """

    def __init__(self, what: str, step: int, value: float) -> None:
        super().__init__(f"{what} is {value} at step {step}: lower optimizer.lr or raise optimizer.warmup_ratio")
        self.step, self.value = step, value
