"""The origin of a table's runs, in words, where they do not all share one origin."""

from collections import Counter
from collections.abc import Sequence

from surm_bench.records import Record


def provenance(records: Sequence[Record]) -> str:
    """Return caption sentences on several kinds of device, several states of the code, and uncommitted changes.

    Empty if all runs were made on one kind of device with one committed state of the code.
    """
    kinds = Counter(record.environment.device_kind for record in records)
    codes = Counter(record.code.sources for record in records)
    dirty = sum(bool(record.environment.git_dirty) for record in records)
    sentences = []
    if len(kinds) > 1:
        sentences.append(f"Runs on {len(kinds)} kinds of device: {_counted(kinds)}.")
    if len(codes) > 1:
        sentences.append(f"Runs of {len(codes)} states of the code (digests {_counted(codes)}).")
    if dirty:
        sentences.append(f"Made with changes that no commit has: {dirty} of {len(records)} runs.")
    return " ".join(sentences)


def commit(record: Record) -> str:
    """Return the commit of the code that made a run, or the version and digest of an installed package."""
    environment = record.environment
    if environment.git_commit is None:
        return f"not known: surm_bench {environment.surm_bench}, sources {record.code.sources}"
    return environment.git_commit + (" and changes that no commit has" if environment.git_dirty else "")


def _counted(counter: Counter) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counter.most_common())
