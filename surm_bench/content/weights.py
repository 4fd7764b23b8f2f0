"""The digest of pretrained weights: tensors by name, regardless of the files that hold them."""

import json
import re
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import NamedTuple

from surm_bench.content.cache import FileCache
from surm_bench.content.fields import fields_digest
from surm_bench.errors import UserError

WEIGHTS_FILE = "model.safetensors"
INDEX = f"{WEIGHTS_FILE}.index.json"
# MiniLM has records from before BERT's pooler counted: its digest is the digest of the other tensors.
AS_BEFORE = {"6ed7808f492a": "82cc97ef5a55"}
OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}  # in BERT's first checkpoints


class StoredTensor(NamedTuple):
    """A tensor of a safetensors file: its dtype by the file's name for it, its shape, and its bytes without a copy."""

    dtype: str
    shape: list[int]
    data: memoryview


def weights_digest(path: str | Path, heads: re.Pattern[str] | None = None, cache: FileCache | None = None) -> str:
    """Return twelve hex digits of the name, dtype, shape and bytes of the tensors, sorted by name.

    The order in the file, the metadata and the division into shards do not count. Differences that transformers
    ignores in names do not count either: a leading "bert." or "roberta.", and the old names LayerNorm.gamma and
    LayerNorm.beta.

    Args:
        path: a safetensors file, or a folder with model.safetensors or with its shards and their index.
        heads: a pattern for the names of tensors that do not count, such as the tensors of a head that is drawn anew.

    Raises:
        UserError: the file is missing or not a safetensors file, a name occurs twice, or no tensor is left.
    """
    path, pattern = Path(path), heads.pattern if heads else ""
    files = weight_files(path)
    if cache is None:
        return _digest(files, heads)
    return cache.get(files, f"weights without /{pattern}/", lambda: _digest(files, heads))


def weight_files(path: Path) -> list[Path]:
    """Return the safetensors file, or the files of a folder: its one file or the shards that its index lists."""
    files = [path / WEIGHTS_FILE if path.is_dir() else path]
    if not files[0].is_file() and (path / INDEX).is_file():
        files = [path / name for name in _shards(path / INDEX)]
    for file in files:
        if file.suffix != ".safetensors" or not file.is_file():
            raise UserError(f"no weights at {file}: expected a .safetensors file or a folder with {WEIGHTS_FILE}")
    return files


def read_tensors(file: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a safetensors file by their names in the file.

    The format: 8 bytes with the length n of the header (little-endian), n bytes of JSON, then the tensors' bytes, at
    offsets that the header gives (https://github.com/huggingface/safetensors).

    Raises:
        UserError: the file is not a safetensors file.
    """
    try:
        with file.open("rb") as opened:
            content = memoryview(mmap(opened.fileno(), 0, access=ACCESS_READ))
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(bytes(content[8:start]))
        header.pop("__metadata__", None)
        return {name: _tensor(content[start:], **entry) for name, entry in header.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is not a readable safetensors file: {error}") from error


def _shards(index: Path) -> list[str]:
    try:
        return sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{index} is not a readable index of shards: {error}") from error


def _tensor(content: memoryview, dtype: str, shape: list[int], data_offsets: list[int]) -> StoredTensor:
    begin, end = data_offsets
    data = content[begin:end]
    if data.nbytes != end - begin:
        raise ValueError(f"it ends before byte {end} of the tensors")
    return StoredTensor(dtype, shape, data)


def _digest(files: list[Path], heads: re.Pattern[str] | None) -> str:
    tensors: dict[str, StoredTensor] = {}
    for file in files:
        for stored_name, tensor in read_tensors(file).items():
            name = _canonical(stored_name)
            if heads is not None and heads.search(name):
                continue
            if name in tensors:
                raise UserError(f"{file} has the tensor {name} twice, once as {stored_name}")
            tensors[name] = tensor
    if not tensors:
        raise UserError(f"{files[0]} has no tensors except those of a head")
    digest = fields_digest(_fields(tensors))
    return AS_BEFORE.get(digest, digest)


def _canonical(name: str) -> str:
    name = re.sub(r"^(bert|roberta)\.", "", name)
    return re.sub(r"\bLayerNorm\.(gamma|beta)$", lambda old: OLD_NAMES[old[0]], name)


def _fields(tensors: dict[str, StoredTensor]) -> Iterator[bytes | memoryview]:
    for name, tensor in sorted(tensors.items()):
        yield name.encode()
        yield f"{tensor.dtype} {tensor.shape}".encode()
        yield tensor.data
