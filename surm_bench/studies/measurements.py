"""The measurements of a study: one JSON file, written atomically, one line per row. Without torch."""

import json
import math
from pathlib import Path
from typing import Any

from surm_bench.errors import UserError
from surm_bench.system.atomic import atomic

SCHEMA_VERSION = 1


def write(path: Path, about: dict[str, Any], **tables: list[dict]) -> None:
    """Write the study's description (settings, environment) and its tables. A number that is not finite is null."""
    parts = {"schema_version": SCHEMA_VERSION, **about}
    lines = [f" {json.dumps(name)}: {json.dumps(part)}" for name, part in parts.items()]
    for name, rows in tables.items():
        texts = [f"  {json.dumps(_finite(row), allow_nan=False)}" for row in rows]
        lines.append("\n".join([f" {json.dumps(name)}: [", ",\n".join(texts), " ]"]))
    with atomic(path) as temporary:
        temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """Read the measurements of a study.

    Raises:
        UserError: one line, if the file is missing, truncated or of another schema version.
    """
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"unreadable measurements {path}: {error}") from error
    version = records.get("schema_version") if isinstance(records, dict) else None
    if version != SCHEMA_VERSION:
        raise UserError(f"{path} has schema_version {version!r}: this surm-bench reads {SCHEMA_VERSION}")
    return records


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
