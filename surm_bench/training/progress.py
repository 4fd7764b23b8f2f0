"""How far a run is: a bar in a terminal, a line an epoch elsewhere, and every epoch in the run's log."""

import time
from datetime import timedelta

from rich import progress

from surm_bench.records.run_log import LINES

SECONDS = 5.0  # at least, between two lines outside a terminal: some epochs take a tenth of one
COLUMNS = (
    progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn(),
    progress.TextColumn("steps"), progress.TimeRemainingColumn(), progress.TextColumn("{task.fields[values]}"),
)  # fmt: skip


class RunProgress:
    """To be used in a with statement.

    Args:
        title: of the run.
        steps: of the run, and ``done`` those done before.
        shown: whether anything but the log is written.
    """

    def __init__(self, title: str, steps: int, done: int, shown: bool) -> None:
        self.title, self.steps, self.first, self.shown = title, steps, done, shown
        self.bar = progress.Progress(*COLUMNS, disable=not shown, transient=True)
        if shown and not self.bar.console.is_terminal:
            self.bar.disable = True
        self.task = self.bar.add_task(title, total=steps, completed=done, values="")
        self.loss, self.scores = "", ""
        self.began = self.printed = time.monotonic()

    def __enter__(self) -> "RunProgress":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def advance(self) -> None:
        """A step is done."""
        self.bar.advance(self.task)

    def set_loss(self, loss: float) -> None:
        """The loss of the step that was done last."""
        self.loss = f"loss {loss:.4g}"
        self.bar.update(self.task, values=", ".join(filter(None, (self.loss, self.scores))))

    def end_epoch(self, epoch: int, step: int, loss: float, scores: dict[str, float]) -> None:
        """An epoch is over, with its mean loss and the scores of the splits, if they were evaluated."""
        self.scores = ", ".join(f"{name} {score:.4f}" for name, score in scores.items()) or self.scores
        self.set_loss(loss)
        parts = [f"epoch {epoch}", f"step {step} of {self.steps}", self.loss]
        parts += [self.scores] if scores else []
        line = ", ".join([*parts, f"{self._left(step)} left"])
        LINES.info(line)
        now = time.monotonic()
        if self.shown and self.bar.disable and now - self.printed >= SECONDS:
            self.printed = now
            self.bar.console.print(f"{self.title}: {line}", highlight=False, markup=False, soft_wrap=True)

    def stop_early(self, step: int, patience: int) -> None:
        """Training ends here, as the last evaluations were no better than the best before them."""
        LINES.info(f"stopped early at step {step} of {self.steps}: no new best in {patience} evaluations")

    def _left(self, step: int) -> timedelta:
        each = (time.monotonic() - self.began) / max(step - self.first, 1)
        return timedelta(seconds=round(each * (self.steps - step)))
