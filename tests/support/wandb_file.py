"""Read a run's .wandb file: a log of LevelDB's form (its doc/log_format.md) whose records are wandb's own messages."""

import json
from collections.abc import Iterator
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER = 32768, 7  # bytes; the file begins with a header as long as that of a record
WHOLE, LAST = 1, 4  # types of a part that end a record


def records(file: Path) -> Iterator[Record]:
    """The messages of a file that was finished."""
    content, place, parts = file.read_bytes(), HEADER, b""
    assert content.startswith(b":W&B")
    while place + HEADER <= len(content):
        if BLOCK - place % BLOCK < HEADER:  # the rest of a block that holds no header is empty
            place += BLOCK - place % BLOCK
            continue
        size, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        parts += content[place + HEADER : place + HEADER + size]
        place += HEADER + size
        if kind in (WHOLE, LAST):
            yield Record.FromString(parts)
            parts = b""


def items(found: list) -> dict:
    """The values of a message's items by their names, those inside each other joined by dots."""
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in found}
