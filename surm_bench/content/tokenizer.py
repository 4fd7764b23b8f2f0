"""The digest of a tokenizer."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from surm_bench.content.cache import FileCache
from surm_bench.content.fields import fields_digest
from surm_bench.errors import UserError

TOKENIZER = "tokenizer.json"
VOCABULARIES = ("vocab.txt", "vocab.json", "merges.txt")  # read without a tokenizer.json
SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
STATE = ("truncation", "padding")  # settings of the last call, not part of the tokenizer
# Settings without effect on tokens: names and places, decoding to text, and settings that only other code reads.
WITHOUT_EFFECT = {
    *("name_or_path", "special_tokens_map_file", "tokenizer_file", "full_tokenizer_file", "processor_class"),
    *("chat_template", "clean_up_tokenization_spaces", "errors", "use_fast", "backend", "is_local", "local_files_only"),
    *("do_basic_tokenize", "never_split", "auto_map", "transformers_version"),
}
# Settings of models with records from before settings counted: their digest is the digest of tokenizer.json alone.
AS_BEFORE = {
    "669414996967": "roberta_tiny",
    "69d715d639d6": "minilm",
    "1ce7e5f5efa0": "mpnet",
}


def tokenizer_digest(folder: str | Path, cache: FileCache | None = None) -> str:
    """Return twelve hex digits of everything in a folder that decides the tokens of a text and their maximal number.

    The digest covers tokenizer.json, or vocab.* and merges.txt in a folder without this file. It also covers the
    settings beside these files, such as special and added tokens, add_prefix_space, do_lower_case and model_max_length.
    The order of keys and white space in JSON do not count. In tokenizer.json, the truncation and padding of the last
    call do not count.

    Raises:
        UserError: the folder has no tokenizer, or one of the JSON files is not valid JSON.
    """
    folder = Path(folder)
    vocabularies = sorted([*folder.glob("vocab.*"), *folder.glob("merges.txt")])
    files = [folder / TOKENIZER] if (folder / TOKENIZER).is_file() else vocabularies
    if not files:
        raise UserError(f"no tokenizer at {folder}: expected {TOKENIZER}, or vocab.* and perhaps merges.txt")
    beside = [folder / name for name in SETTINGS if (folder / name).is_file()]
    if cache is None:
        return _digest(files, beside)
    return cache.get([*files, *beside], "tokenizer and its settings", lambda: _digest(files, beside))


def _digest(files: list[Path], beside: list[Path]) -> str:
    return fields_digest([*_fields(files), *_settings(beside)])


def _fields(files: list[Path]) -> Iterator[bytes]:
    for file in files:
        yield file.name.encode()
        if file.name == TOKENIZER:
            yield _bytes({key: value for key, value in _read(file).items() if key not in STATE})
        else:
            yield file.read_bytes()


def _settings(files: list[Path]) -> list[bytes]:
    """Return the settings that count, grouped by file name."""
    settings: dict[str, Any] = {}
    for file in files:
        kept = {key: value for key, value in _read(file).items() if key not in WITHOUT_EFFECT and value is not None}
        if file.name == "special_tokens_map.json":
            config = settings.get("tokenizer_config.json", {})
            kept = {key: value for key, value in kept.items() if config.get(key) != value}  # not twice
        if kept:
            settings[file.name] = kept
    content = _bytes(settings)
    return [] if not settings or fields_digest([content]) in AS_BEFORE else [b"settings", content]


def _bytes(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} is not a JSON object")
    return content
