"""Show the progress of a run: a bar in a terminal, elsewhere a line for an epoch. The run's log gets every epoch."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich import progress

from surm_bench.records.run_log import LINES

TIMED = 10  # steps after which the time of a run is estimated
SECONDS = 5.0  # fewest seconds between two lines outside a terminal: some epochs take a tenth of a second
COLUMNS = (
    progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn(),
    progress.TextColumn("steps"), progress.TimeRemainingColumn(), progress.TextColumn("{task.fields[values]}"),
)  # fmt: skip


class RunProgress:
    """The progress display of a run, shown while the block of ``running`` runs.

    Args:
        title: title of the run.
        steps: number of steps of the run.
        shown: whether to show progress; the log is always written.
    """

    def __init__(self, title: str, steps: int, shown: bool) -> None:
        self.title, self.steps, self.shown = title, steps, shown
        self.first = self.step = 0  # the first step of this process, and the current step
        self.bar = progress.Progress(*COLUMNS, disable=not shown, transient=True)
        if shown and not self.bar.console.is_terminal:
            self.bar.disable = True
        self.task = self.bar.add_task(title, total=steps, values="")
        self.loss, self.scores = "", ""
        self.began = self.printed = time.monotonic()

    @contextmanager
    def running(self, done: int) -> Iterator[None]:
        """Show the progress while the block runs. ``done`` steps were completed before, by other processes."""
        self.first = self.step = done
        self.bar.reset(self.task, completed=done)
        self.began = self.printed = time.monotonic()
        with self.bar:
            yield

    def advance(self) -> None:
        """Count a completed step. After the first steps, tell how long a long run will take."""
        self.bar.advance(self.task)
        self.step += 1
        if self.step == self.first + TIMED and self._seconds_left(self.step) > SECONDS:
            self._print(f"about {self._left(self.step)} for {self.steps - self.step:,} steps")

    def set_loss(self, loss: float) -> None:
        """Show the loss of the last step."""
        self.loss = f"loss {loss:.4g}"
        self.bar.update(self.task, values=", ".join(filter(None, (self.loss, self.scores))))

    def end_epoch(self, epoch: int, step: int, loss: float, scores: dict[str, float]) -> None:
        """Report the end of an epoch, with its mean loss, and the scores of the splits if they were evaluated."""
        self.scores = ", ".join(f"{name} {score:.4f}" for name, score in scores.items()) or self.scores
        self.set_loss(loss)
        parts = [f"epoch {epoch}", f"step {step} of {self.steps}", self.loss]
        parts += [self.scores] if scores else []
        line = ", ".join([*parts, f"{self._left(step)} left"])
        LINES.info(line)
        if time.monotonic() - self.printed >= SECONDS:
            self.printed = time.monotonic()
            self._print(line)

    def stop_early(self, step: int, patience: int) -> None:
        """Log that training ends early, because the last evaluations did not improve on an earlier evaluation."""
        LINES.info(f"stopped early at step {step} of {self.steps}: no new best in {patience} evaluations")

    def _print(self, line: str) -> None:
        """Print a line if progress is shown and the output is not a terminal, which has a bar instead."""
        if self.shown and self.bar.disable:
            self.bar.console.print(f"{self.title}: {line}", highlight=False, markup=False, soft_wrap=True)

    def _left(self, step: int) -> timedelta:
        return timedelta(seconds=round(self._seconds_left(step)))

    def _seconds_left(self, step: int) -> float:
        return (time.monotonic() - self.began) / max(step - self.first, 1) * (self.steps - step)
