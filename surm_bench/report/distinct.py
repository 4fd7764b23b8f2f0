"""Labels that distinguish the configurations of a sweep."""

from collections.abc import Sequence
from typing import Any

from surm_bench.records import Record
from surm_bench.report.frames import columns_of


def with_distinct_labels(records: Sequence[Record]) -> list[Record]:
    """Return the records; where a column has several configurations of one label, their labels name the differences.

    For example ``LoRA r=8 (lr=0.001)`` and ``LoRA r=8 (lr=0.003)``. The differences are the keys of the identity that
    vary, except the seed.
    """
    cells: dict[tuple, list[dict]] = {}
    for record in records:
        cell = (*columns_of(record.config)[0].key, record.config.adapter.label)
        cells.setdefault(cell, []).append(_flat(record.identity))
    varying: dict[str, list[str]] = {}  # label -> the keys that vary
    for (*_, label), identities in cells.items():
        for key in dict.fromkeys(key for identity in identities for key in identity):
            if key != "seed" and len({repr(identity.get(key)) for identity in identities}) > 1:
                varying.setdefault(label, [])
                varying[label] += [key] * (key not in varying[label])
    return [_renamed(record, varying.get(record.config.adapter.label, [])) for record in records]


def _renamed(record: Record, keys: Sequence[str]) -> Record:
    if not keys:
        return record
    identity = _flat(record.identity)
    settings = ", ".join(f"{key.rpartition('.')[2]}={identity.get(key)}" for key in keys)
    return record.labelled(f"{record.config.adapter.label} ({settings})")


def _flat(tree: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Flatten a nested mapping: nested keys are joined by dots."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found
