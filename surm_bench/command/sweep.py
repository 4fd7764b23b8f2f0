"""The table at the end of a sweep."""

from collections.abc import Sequence
from statistics import mean, stdev
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from surm_bench.config.positive_class import shown_metric
from surm_bench.records.record import Record

WIDEST = 400  # characters; a table takes as many as it needs
SHOWN = ("adapter", "task", "model", "seed")  # keys that have a column of their own, or are averaged over


class Made(NamedTuple):
    """A job of a sweep: its overrides and its record."""

    overrides: Sequence[str]
    record: Record


def print_sweep(made: Sequence[Made]) -> None:
    """Print the table of a sweep, as wide as it has to be."""
    Console(width=WIDEST).print(sweep_table(made))


def sweep_table(made: Sequence[Made]) -> Table:
    """Return a row for each adapter, task and setting: the mean score over the seeds and its standard deviation."""
    same = set.intersection(*(set(job.overrides) for job in made))
    groups: dict[tuple[str, ...], list[Record]] = {}
    for job in made:
        setting = [o for o in job.overrides if o not in same and o.partition("=")[0].lstrip("+") not in SHOWN]
        config = job.record.config
        key = (config.adapter.label, config.model.name, config.task.name, shown_metric(config.task), " ".join(setting))
        groups.setdefault(key, []).append(job.record)
    titles = ("adapter", "model", "task", "metric", "setting")
    used = [i for i, title in enumerate(titles) if title != "setting" or any(key[i] for key in groups)]
    table = Table(*(titles[i] for i in used), "parameters", "score (mean ± standard deviation)", box=box.SIMPLE_HEAD)
    for key, records in groups.items():
        table.add_row(*(key[i] for i in used), _parameters(records), _score(records))
    return table


def _parameters(records: Sequence[Record]) -> str:
    counts = {f"{record.parameters.adapter:,}" for record in records if record.status == "success"}
    return " or ".join(sorted(counts)) or "—"


def _score(records: Sequence[Record]) -> str:
    scores = [record.score for record in records if record.score is not None]
    others = [record.status for record in records if record.score is None]
    shown = f"{mean(scores):.4f}" if scores else ""
    spread = f" ± {stdev(scores):.4f} ({len(scores)} runs)" if len(scores) > 1 else ""
    return ", ".join(filter(None, [shown + spread, *others]))
