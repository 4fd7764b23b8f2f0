"""The digest of a tokenizer."""

import json
from collections.abc import Iterator
from pathlib import Path

from surm_bench.content.cache import FileCache
from surm_bench.content.fields import fields_digest
from surm_bench.errors import UserError

FILE = "tokenizer.json"
STATE = ("truncation", "padding")  # how it was called last, not what it is


def tokenizer_digest(folder: str | Path, cache: FileCache | None = None) -> str:
    """Twelve hex digits of a folder's tokenizer.json, or where there is none of its vocab.* and merges.txt.

    Of tokenizer.json neither the order of keys nor white space counts, nor the truncation and padding of the last call.

    Raises:
        UserError: neither is there, or tokenizer.json is no JSON.
    """
    folder = Path(folder)
    files = (
        [folder / FILE] if (folder / FILE).is_file() else sorted([*folder.glob("vocab.*"), *folder.glob("merges.txt")])
    )
    if not files:
        raise UserError(f"no tokenizer at {folder}: expected {FILE}, or vocab.* and perhaps merges.txt")
    if cache is None:
        return fields_digest(_fields(files))
    return cache.get(files, "tokenizer", lambda: fields_digest(_fields(files)))


def _fields(files: list[Path]) -> Iterator[bytes]:
    for file in files:
        yield file.name.encode()
        yield _canonical(file) if file.name == FILE else file.read_bytes()


def _canonical(file: Path) -> bytes:
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise UserError(f"{file}: not readable JSON: {error}") from error
    content = {key: value for key, value in content.items() if key not in STATE}
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
