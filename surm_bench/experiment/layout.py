"""The rows and columns of an experiment's table, also of runs that have not been made."""

from collections import defaultdict
from dataclasses import dataclass

import pandas as pd

from surm_bench.config.positive_class import shown_metric
from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.jobs import Choices, Job, pair, pairs, resolved
from surm_bench.report.frames import TaskColumn, adapter_family, columns_of
from surm_bench.report.looks import Look, method_looks


@dataclass(frozen=True)
class Layout:
    """Rows from top to bottom, columns from left to right.

    Attributes:
        labels: the row label of each task and adapter. A knob may change the label, also to that of another adapter:
            then both labels name their adapters.
        families: the family of each label.
        metrics: the metric of each task, as tables call it.
    """

    labels: dict[tuple[str, str], str]
    families: dict[str, str]
    columns: list[TaskColumn]
    metrics: dict[str, str]

    @property
    def looks(self) -> dict[str, Look]:
        return method_looks(self.families)

    def named(self, scores: pd.DataFrame) -> pd.DataFrame:
        """Return the scores with columns for the label of each task and adapter, and the metric of each task."""
        places = zip(scores["task"], scores["adapter"], strict=True)
        return scores.assign(
            label=[self.labels[place] for place in places], metric=[self.metrics[task] for task in scores["task"]]
        )


def layout(experiment: Experiment, choices: Choices) -> Layout:
    """Return the layout of the settings that tuning chose; adapters without a choice use their first settings."""
    planned = pairs(experiment)
    chosen = [pair(experiment, *place, setting) for place, setting in choices.items()]

    def of(adapter: str, jobs: list[Job]) -> list[Job]:
        return [job for job in jobs if job.adapter == adapter]

    rows = [job for adapter in experiment.adapters for job in of(adapter, chosen) or of(adapter, planned)]
    configs = {job: resolved(job) for job in [*planned, *chosen]}
    labels = _distinct({(job.task, job.adapter): config.adapter.label for job, config in configs.items()})
    families = {labels[job.task, job.adapter]: adapter_family(configs[job].adapter.peft) for job in rows}
    columns = dict.fromkeys(column for job in planned for column in columns_of(configs[job]))
    metrics = {job.task: shown_metric(config.task) for job, config in configs.items()}
    return Layout(labels, families, list(columns), metrics)


def _distinct(labels: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Return the labels by task and adapter; a label of several adapters is followed by the adapter's name."""
    owners = defaultdict(set)
    for (_, adapter), label in labels.items():
        owners[label].add(adapter)
    return {
        (task, adapter): label if len(owners[label]) == 1 else f"{label} ({adapter})"
        for (task, adapter), label in labels.items()
    }
