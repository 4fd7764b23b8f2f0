"""The reader of all images: for digests, training, evaluation and predictions. Every error names the image.

Images with 8 bits per channel keep the mode that Pillow gives them. Grey images with more bits (16-bit integers, 32-bit
integers, floats) become 8-bit grey: the value ``white`` becomes 255. Only the first of several frames or pages is read;
transparency is dropped.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
from PIL import UnidentifiedImageError
from PIL.ImageOps import exif_transpose

from surm_bench.errors import UserError

# Formats that Pillow recognises but cannot decode by itself.
NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}
SIXTEEN_BITS = {("PNG", "I;16"), ("PNG", "I"), ("JPEG2000", "I;16"), ("PPM", "I")}  # Pillow scales these to 65,535
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # tags and a value of TIFF 6.0


class Deep(NamedTuple):
    """A grey image with more than 8 bits, called a deep image.

    Attributes:
        values: (height, width), uint16, int32 or float32.
        white: the largest value that the file's format allows; None if the format does not define it.
    """

    values: np.ndarray
    white: int | None


def extensions() -> list[str]:
    """Return the extensions of the files that Pillow reads as images: lower case, with the dot, sorted."""
    known = PIL.Image.registered_extensions()  # this call also fills PIL.Image.OPEN
    return sorted(end for end, kind in known.items() if kind in PIL.Image.OPEN and kind not in NOT_DECODED)


def image_name(stored: dict, row: int, origin: str) -> str:
    """Return the name of an image for messages: its file, or its row and the row's origin.

    Args:
        stored: a cell of a `datasets` Image column, {"bytes", "path"}.
    """
    if stored["bytes"] is None and stored["path"] is not None:
        return stored["path"]
    return f"row {row} of {origin}" + (f" ({stored['path']})" if stored["path"] else "")


def read_image(stored: dict, name: str, white: float | None = None) -> PIL.Image.Image:
    """Decode the image of a cell, turn it by its EXIF orientation, and return it in an 8-bit mode.

    Args:
        stored: a cell of a `datasets` Image column, {"bytes", "path"}.
        name: the name of the image, for messages.
        white: the value of a deep image that becomes 255; None for the white of the file's format.

    Raises:
        UserError: Pillow cannot read the image, only its transparency holds a picture, a deep image has no known
            white or has a value outside 0..white, or a white is given for another image.
    """
    with _named(name):
        image = _opened(stored)
        deep = deep_values(image)
        if deep is not None:
            return PIL.Image.fromarray(_in_8_bits(deep, white, name))
        _check_white(image, white, name)
        image = exif_transpose(image)
        _check_transparency(image, name)
        return image.convert("RGB") if image.mode == "LAB" else image  # Pillow cannot convert LAB to grey


def image_fields(stored: dict, name: str, white: float | None = None) -> tuple[bytes, bytes]:
    """Return the content of an image for a digest: its kind and size, and its pixels; for a JPEG the file itself.

    The pixels of a JPEG are not used, because decoders may differ in the last bit of a pixel. 8-bit modes count as grey
    (1 or L) or RGB. Deep images count with all their bits, before the conversion by ``white``.

    Raises:
        UserError: in the cases of read_image, except for a JPEG with damage behind its header.
    """
    with _named(name):
        image = _opened(stored)
        if image.format in ("JPEG", "MPO"):  # MPO: a JPEG with several pictures, as many phones write it
            return b"JPEG", image.fp.getvalue()
        deep = deep_values(image)
        if deep is not None:
            _in_8_bits(deep, white, name)
            height, width = deep.values.shape
            little_endian = deep.values.astype(deep.values.dtype.newbyteorder("<"))
            return f"{little_endian.dtype.str} of {deep.white} {width}x{height}".encode(), little_endian.tobytes()
        _check_white(image, white, name)
        image = exif_transpose(image)
        _check_transparency(image, name)
        image = image.convert("L" if image.mode in ("1", "L") else "RGB")
        return f"{image.mode} {image.width}x{image.height}".encode(), image.tobytes()


def deep_values(image: PIL.Image.Image) -> Deep | None:
    """Return the values of a deep image, turned by its EXIF orientation; None for an image of 8 bits."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return None
    is_tiff = image.format == "TIFF" and image.mode not in ("I", "F")
    white = 65535 if (image.format, image.mode) in SIXTEEN_BITS else None
    inverted = False
    if is_tiff:
        white = 2 ** image.tag_v2[BITS_PER_SAMPLE][0] - 1
        inverted = image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO  # Pillow inverts only 8-bit images
    values = np.asarray(exif_transpose(image))
    if white is not None:
        values = (white - values if inverted else values).astype(np.uint16)
    return Deep(values, white)


def _opened(stored: dict) -> PIL.Image.Image:
    encoded = Path(stored["path"]).read_bytes() if stored["bytes"] is None else stored["bytes"]
    try:
        return PIL.Image.open(BytesIO(encoded))
    except UnidentifiedImageError:
        raise ValueError(f"{len(encoded):,} bytes in no format that Pillow reads, {encoded[:16]!r}") from None


def _in_8_bits(deep: Deep, white: float | None, name: str) -> np.ndarray:
    """Return (height, width) in uint8. Integers lose their lowest bits, as in Pillow's 16-bit colour images."""
    white = deep.white if white is None else white
    low, high = deep.values.min(), deep.values.max()
    if white is None:
        raise UserError(
            f"{name} holds values from {low:g} to {high:g}, and its format does not define white: save it with 8 or 16 "
            "bits, or give task.white"
        )
    if not 0 <= low <= high <= white:  # this also refuses NaN
        raise UserError(f"{name} holds values from {low:g} to {high:g}, outside 0..{white:g}: give another task.white")
    if deep.values.dtype.kind == "f":
        return np.rint(deep.values.astype(np.float64) * (255 / white)).astype(np.uint8)
    return (deep.values.astype(np.int64) * 256 // (int(white) + 1)).astype(np.uint8)


def _check_white(image: PIL.Image.Image, white: float | None, name: str) -> None:
    """Refuse a white for an image that is not deep: Pillow keeps 8 of 16 bits of colours, and 255 is white."""
    if white is not None:
        colours = any(";16" in str(tile[3]) for tile in image.tile)
        kind, advice = ("16-bit colours", "save it with 8 bits and ") if colours else ("8 bits", "")
        raise UserError(f"{name} has {kind}, so task.white={white:g} has no effect: {advice}give no task.white")


def _check_transparency(image: PIL.Image.Image, name: str) -> None:
    """Refuse an image of one colour with its picture in the transparency: without transparency nothing is left."""
    if image.has_transparency_data:
        *colours, alpha = image.convert("RGBA").getextrema()
        if alpha[0] < alpha[1] and all(low == high for low, high in colours):
            raise UserError(f"{name} has one colour and shows its picture only by transparency: put it on a background")


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Turn every error that Pillow raises into a UserError that names the image."""
    try:
        yield
    except UserError:
        raise
    except PIL.Image.DecompressionBombError as error:
        limit = 2 * PIL.Image.MAX_IMAGE_PIXELS
        raise UserError(f"{name} is too large for Pillow, which reads up to {limit:,} pixels: shrink it") from error
    except Exception as error:
        reason = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"{name} is not a readable image ({reason}): replace or remove it") from error
