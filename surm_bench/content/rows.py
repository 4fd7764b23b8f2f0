"""The digest of a split: the inputs and the label of its rows, in order."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from surm_bench.content.fields import fields_digest
from surm_bench.content.images import image_fields, image_name
from surm_bench.errors import UserError, unknown

if TYPE_CHECKING:
    from datasets import Dataset

BATCH = 1000  # rows in memory at once


def rows_digest(
    dataset: "Dataset",
    inputs: Sequence[str],
    label: str,
    kind: str,
    origin: str = "the data",
    white: float | None = None,
) -> str:
    """Return twelve hex digits of the rows in order; other columns, column names, class names and storage do not count.

    A text counts as UTF-8, an image by surm_bench.content.images.image_fields, a label as a 64-bit integer or, if the
    column holds floats, as a float32.

    Args:
        inputs: the input columns, in the order in which a model takes them.
        kind: "text" or "image".
        origin: the source of the rows, for messages.
        white: the white of deep images (surm_bench.content.images); refuses an image with values outside 0..white.

    Raises:
        UserError: the kind is unknown, labels are not numbers, or an image cannot be read.
    """
    if kind not in ("text", "image"):
        raise unknown("kind of rows", kind, ("text", "image"))
    dataset = dataset.select_columns([*inputs, label])
    if kind == "image":
        from datasets import Image  # takes half a second, which a command that only reads records need not wait for

        for name in inputs:
            dataset = dataset.cast_column(name, Image(decode=False))

    def encoded(value: str | dict, row: int) -> Sequence[bytes]:
        if kind == "text":
            return (value.encode(),)
        return image_fields(value, image_name(value, row, origin), white)

    def fields() -> Iterator[bytes]:
        yield f"{kind} rows, {len(inputs)} inputs".encode()
        for start, batch in enumerate(dataset.iter(BATCH)):
            columns = [batch[name] for name in inputs]
            for row, (*values, target) in enumerate(zip(*columns, _labels(batch[label], label), strict=True)):
                for value in values:
                    yield from encoded(value, start * BATCH + row)
                yield target

    return fields_digest(fields())


def _labels(values: list, name: str) -> list[bytes]:
    labels = np.asarray(values)
    if labels.dtype.kind not in "iuf":
        raise UserError(f"column {name} must hold numbers, but holds for instance {values[0]!r}")
    dtype, tag = ("<f4", b"float32 ") if labels.dtype.kind == "f" else ("<i8", b"int64 ")
    return [tag + value.tobytes() for value in labels.astype(dtype)]
