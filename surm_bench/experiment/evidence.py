"""The records of an experiment, and what follows from them: chosen settings, results, and the rows of its tables."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.jobs import Job, reported_jobs
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.tuning import Tuned, tuned
from surm_bench.records import Record

if TYPE_CHECKING:  # imported inside, because a plan needs no pandas and no scipy
    import pandas as pd

    from surm_bench.experiment.layout import Layout
    from surm_bench.experiment.pairing import Predictions


class Evidence:
    """The records of an experiment below a folder. Everything is computed once: after new runs, make a new Evidence.

    Args:
        places: overrides that say where data and weights are: task.data_dir, model.weights.
        rows: only these adapters; empty: all.

    Attributes:
        experiment: the experiment with these adapters.
    """

    def __init__(
        self, experiment: Experiment, folder: Path, places: Sequence[str] = (), rows: Sequence[str] = ()
    ) -> None:
        self.experiment = experiment.of_rows(rows)
        self._whole, self._rows = experiment, rows
        self.folder = folder
        self.places = places
        self.runs = Runs(folder, places)

    def with_runs_of(self, folder: Path) -> "Evidence":
        """Return the evidence of another folder, which has runs at the settings that tuning chose here."""
        other = Evidence(self.experiment, folder, self.places)
        other.tuned = self.tuned
        return other

    @cached_property
    def tuned(self) -> Tuned:
        """The state of tuning. How many settings an adapter tries may depend on the adapters that are left out here."""
        return tuned(self._whole, self.runs).of_rows(self._rows)

    @cached_property
    def reported(self) -> list[Job]:
        """The runs of the table whose setting has been chosen."""
        return reported_jobs(self.experiment, self.tuned.choices)

    @cached_property
    def waiting(self) -> list[Job]:
        """The reported runs that are still to be run."""
        return self.runs.waiting(self.reported)

    @cached_property
    def results(self) -> list[Record]:
        """The records of the reported runs that are done, with the labels of their rows."""
        return self._labelled(self.runs.results)

    @cached_property
    def records(self) -> list[Record]:
        """The records of all reported runs, first of those that are done."""
        return self.results + self._labelled(self.runs.failures)

    @cached_property
    def frame(self) -> "pd.DataFrame":
        """The records of all reported runs as surm_bench.report.frames.runs_frame."""
        from surm_bench.report.frames import runs_frame

        return runs_frame(self.records)

    @cached_property
    def layout(self) -> "Layout":
        """The rows and columns of the table."""
        from surm_bench.experiment.layout import layout

        return layout(self.experiment, self.tuned.choices)

    @cached_property
    def scores(self) -> "pd.DataFrame":
        """The scores of tuning (Tuned.scores) with the label of each row and the metric of each task."""
        return self.layout.named(self.tuned.scores)

    @cached_property
    def best_epoch(self) -> list[str]:
        """The labels of the rows that show the score of the best epoch."""
        named = [job for job in self.reported if job.adapter in self.experiment.best_epoch]
        return list(dict.fromkeys(self.layout.labels[job.task, job.adapter] for job in named))

    @cached_property
    def predictions(self) -> "Predictions":
        """The predictions of the reported runs."""
        from surm_bench.experiment.pairing import Predictions

        return Predictions(self.runs.archive)

    @property
    def problems(self) -> list[str]:
        """A line for each record and each file of predictions that cannot be used."""
        return self.runs.problems + self.predictions.problems

    def _labelled(self, read: Callable[[list[Job]], list[Record]]) -> list[Record]:
        """Return the records of the reported runs that ``read`` finds, with the labels of their rows."""
        labels = self.layout.labels
        return [record.labelled(labels[job.task, job.adapter]) for job in self.reported for record in read([job])]
