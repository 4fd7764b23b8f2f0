"""The digest of a split: its rows in order, of each the inputs and the label."""

from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
from PIL.ImageOps import exif_transpose

from surm_bench.content.fields import fields_digest
from surm_bench.errors import UserError, unknown

if TYPE_CHECKING:
    from datasets import Dataset

BATCH = 1000  # rows in memory at once


def rows_digest(dataset: "Dataset", inputs: Sequence[str], label: str, kind: str) -> str:
    """Twelve hex digits of the rows in order; other columns, column names, class names and storage do not count.

    A text counts as UTF-8, an image as :func:`pixels` says, a label as a 64-bit integer or, where the column holds
    floats, as a float32.

    Args:
        inputs: the input columns, in the order in which a model takes them.
        kind: "text" or "image".

    Raises:
        UserError: another kind, labels that are no numbers, or an image that cannot be read.
    """
    encoders = {"text": _text, "image": _image}
    if kind not in encoders:
        raise unknown("kind of rows", kind, encoders)
    dataset = dataset.select_columns([*inputs, label])
    if kind == "image":
        from datasets import Image  # half a second, which whoever only reads records should not wait

        for name in inputs:
            dataset = dataset.cast_column(name, Image(decode=False))
    return fields_digest(_fields(dataset, inputs, label, kind, encoders[kind]))


def open_image(stored: dict) -> PIL.Image.Image:
    """The image of a cell of a `datasets` Image column, {"bytes", "path"}; its pixels are not decoded yet.

    Raises:
        OSError: Pillow cannot read it.
    """
    encoded = stored["bytes"]
    return PIL.Image.open(BytesIO(Path(stored["path"]).read_bytes() if encoded is None else encoded))


def pixels(image: PIL.Image.Image) -> PIL.Image.Image:
    """The image as a data set hands it on, in one of two modes: L where it is grey (1 or L), else RGB."""
    image = exif_transpose(image)
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _fields(
    dataset: "Dataset", inputs: Sequence[str], label: str, kind: str, encode: Callable[..., Iterator[bytes]]
) -> Iterator[bytes]:
    yield f"{kind} rows, {len(inputs)} inputs".encode()
    for batch in dataset.iter(BATCH):
        columns = [batch[name] for name in inputs]
        for *values, target in zip(*columns, _labels(batch[label], label), strict=True):
            for value in values:
                yield from encode(value)
            yield target


def _labels(values: list, name: str) -> list[bytes]:
    labels = np.asarray(values)
    if labels.dtype.kind not in "iuf":
        raise UserError(f"column {name} must hold numbers, found for instance {values[0]!r}")
    dtype, tag = ("<f4", b"float32 ") if labels.dtype.kind == "f" else ("<i8", b"int64 ")
    return [tag + value.tobytes() for value in labels.astype(dtype)]


def _text(value: str) -> Iterator[bytes]:
    yield value.encode()


def _image(stored: dict) -> Iterator[bytes]:
    """Mode, size and pixels; of a JPEG the file itself, for decoders may differ in the last bit of a pixel."""
    try:
        image = open_image(stored)
        if image.format == "JPEG":
            yield from (b"JPEG", image.fp.getvalue())
        else:
            image = pixels(image)
            yield from (f"{image.mode} {image.width}x{image.height}".encode(), image.tobytes())
    except OSError as error:
        raise UserError(f"not a readable image: {error}") from error
