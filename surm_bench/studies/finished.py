"""The finished runs that a study reads from a folder. Without torch."""

from collections.abc import Iterable
from pathlib import Path

from surm_bench import records
from surm_bench.records import Record


def read_runs(results_dir: Path) -> list[Record]:
    """Return the records of a results folder; print what cannot be read."""
    archive = records.Archive(results_dir)
    for problem in archive.problems:
        print(problem)
    return archive.records()


def newest(found: Iterable[Record]) -> list[Record]:
    """Return the successes on reported splits, of each task and label only those of the newest configuration."""
    done = [record for record in found if record.status == "success" and not record.is_tuning]
    groups = {method_of(record): record.group_id for record in sorted(done, key=lambda record: record.created)}
    return [record for record in done if record.group_id == groups[method_of(record)]]


def method_of(record: Record) -> tuple[str, str, str]:
    """Return the names of model and task, and the label of the adapter."""
    return record.config.model.name, record.config.task.name, record.config.adapter.label
