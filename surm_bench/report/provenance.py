"""The origin of a table's runs, in words, where they do not all share one origin."""

from collections import Counter
from collections.abc import Sequence

from surm_bench.records import Record


def provenance(records: Sequence[Record]) -> str:
    """Return caption sentences on several kinds of device, several states of the code, and uncommitted changes.

    Empty if all runs were made on one kind of device with one committed state of the code.
    """
    kinds = Counter(record.environment.hardware for record in records)
    codes = Counter(record.code.sources for record in records)
    dirty = sum(bool(record.environment.git_dirty) for record in records)
    sentences = []
    if len(kinds) > 1:
        sentences.append(
            f"The runs were made on {len(kinds)} kinds of device (with the number of runs): {_counted(kinds)}."
        )
    if len(codes) > 1:
        sentences.append(
            f"The runs were made by {len(codes)} versions of the code (digest, and number of runs): {_counted(codes)}."
        )
    if dirty:
        sentences.append(f"The code of {dirty} of {len(records)} runs had uncommitted changes.")
    return " ".join(sentences)


def commit(record: Record) -> str:
    """Return the commit of the code that made a run, or the version and digest of an installed package."""
    environment = record.environment
    if environment.git_commit is None:
        return f"unknown commit: surm_bench {environment.surm_bench}, sources {record.code.sources}"
    return environment.git_commit + (" with uncommitted changes" if environment.git_dirty else "")


def _counted(counter: Counter) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counter.most_common())
