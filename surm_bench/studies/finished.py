"""The finished runs that a study reads from a folder. Without torch."""

from collections.abc import Iterable
from pathlib import Path

from surm_bench import records
from surm_bench.records import Record
from surm_bench.tracking.contents import parts_of_data


def read_runs(results_dir: Path) -> list[Record]:
    """Return the records of a results folder; print what cannot be read."""
    archive = records.Archive(results_dir)
    for problem in archive.problems:
        print(problem)
    return archive.records()


def newest(found: Iterable[Record]) -> list[Record]:
    """Return the successes on reported splits, of each task and label only those of the newest configuration.

    Print how many successes of older configurations are left out.
    """
    done = [record for record in found if record.status == "success" and not record.is_tuning]
    groups = {method_of(record): record.group_id for record in sorted(done, key=lambda record: record.created)}
    kept = [record for record in done if record.group_id == groups[method_of(record)]]
    if older := len(done) - len(kept):
        print(f"{older} finished runs are left out: their method has a newer configuration on the same task")
    return kept


def method_of(record: Record) -> tuple[str, str, str]:
    """Return the names of the model, of the task with the part of its data that is used, and of the adapter."""
    config = record.config
    return config.model.name, ", ".join([config.task.name, *parts_of_data(config)]), config.adapter.label
