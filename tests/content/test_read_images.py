"""The reader of images: values written by Pillow and by hand, in every depth, and the name of what cannot be read."""

import struct
from io import BytesIO
from zlib import compress, crc32

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image, Value
from PIL import Image as PillowImage
from support.tasks import task_config

from surm_bench.content import extensions, read_image, rows_digest
from surm_bench.errors import UserError
from surm_bench.tasks import load_task, notices, prepare

GREYS = np.array([[0, 1, 128], [254, 255, 35]], np.uint8)  # 2 high, 3 wide
DEEP = GREYS.astype(np.uint16) * 257  # the same greys in 16 bits


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc32(kind + content))


# A PNG of one pixel with three colours of 16 bits, as its specification has it; Pillow writes none.
COLOURS = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
    + _chunk(b"IDAT", compress(b"\0" + struct.pack(">HHH", 257, 4095, 65535)))
    + _chunk(b"IEND", b"")
)


def encoded(values: np.ndarray, kind: str = "PNG", **options) -> bytes:
    buffer = BytesIO()
    PillowImage.fromarray(values).save(buffer, kind, **options)
    return buffer.getvalue()


def read(content: bytes, white: float | None = None) -> np.ndarray:
    return np.asarray(read_image({"bytes": content, "path": None}, "the image", white).convert("L"))


def digest(*contents: bytes, white: float | None = None) -> str:
    rows = {"image": [{"bytes": content, "path": None} for content in contents], "label": [0] * len(contents)}
    dataset = Dataset.from_dict(rows, features=Features({"image": Image(), "label": Value("int64")}))
    return rows_digest(dataset, ["image"], "label", "image", "here", white)


def of_size(width: int, height: int) -> bytes:
    """A PNG whose header (IHDR, with its CRC) says this size."""
    content = bytearray(encoded(GREYS))
    struct.pack_into(">II", content, 16, width, height)
    struct.pack_into(">I", content, 29, crc32(content[12:29]))
    return bytes(content)


def white_is_zero(content: bytes) -> bytes:
    """A TIFF file with its PhotometricInterpretation (tag 262) set to 0, by the offsets of TIFF 6.0."""
    content, start = bytearray(content), struct.unpack_from("<I", content, 4)[0]
    for entry in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", content, start)[0], 12):
        if struct.unpack_from("<H", content, entry)[0] == 262:
            struct.pack_into("<H", content, entry + 8, 0)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "white"),
    [
        (encoded(DEEP), None),
        (encoded(GREYS.astype(np.uint16) << 8), None),  # the low byte does not count
        (encoded(DEEP, "TIFF"), None),
        (encoded(DEEP.astype(">u2"), "TIFF"), None),
        (encoded(DEEP, "TIFF", compression="tiff_lzw"), None),
        (white_is_zero(encoded(65535 - DEEP, "TIFF")), None),
        (encoded(DEEP, "JPEG2000"), None),
        (encoded(DEEP, "PPM"), None),
        (b"P5\n3 2\n4095\n" + (DEEP >> 4).astype(">u2").tobytes(), None),  # a PGM says its range
        (encoded(DEEP >> 4), 4095),  # 12 bits of a microscope in a PNG of 16
        (encoded(DEEP.astype(np.int32), "TIFF"), 65535),
        (encoded(GREYS.astype(np.int32), "TIFF"), 255),
        (encoded(GREYS.astype(np.float32) / 255, "TIFF"), 1),
        (encoded(GREYS.astype(np.float32), "PPM"), 255),
    ],
)
def test_deep_images_are_scaled_to_their_8_bits(content, white):
    np.testing.assert_array_equal(read(content, white), GREYS)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_modes_of_8_bits_are_what_pillow_makes_of_them(mode):
    image = PillowImage.fromarray(np.random.default_rng(0).integers(256, size=(4, 5, 3), dtype=np.uint8)).convert(mode)
    buffer = BytesIO()
    image.save(buffer, "PNG" if mode == "LA" else "TIFF")
    found = read_image({"bytes": buffer.getvalue(), "path": None}, "the image")
    assert found.mode == mode and found.tobytes() == image.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_images_are_turned_as_8_bit_images_are(orientation):
    exif = PillowImage.Exif()
    exif[PillowImage.ExifTags.Base.Orientation] = orientation
    assert read(encoded(DEEP, exif=exif)).tolist() == read(encoded(GREYS, exif=exif)).tolist()


@pytest.mark.parametrize(
    ("content", "white", "words"),
    [
        (encoded(DEEP.astype(np.int32), "TIFF"), None, "values from 0 to 65535, and its format does not define white"),
        (encoded(GREYS.astype(np.float32), "TIFF"), None, "does not define white: .* or give task.white"),
        (encoded(DEEP), 4095, "holds values from 0 to 65535, outside 0..4095: give another task.white"),
        (encoded(-GREYS.astype(np.int32), "TIFF"), 255, "holds values from -255 to 0, outside"),
        (encoded(np.full((2, 2), np.nan, np.float32), "TIFF"), 1, "values from nan to nan, outside"),
        (COLOURS, 4095, "has 16-bit colours, so task.white=4095 has no effect: save it with 8"),
        (encoded(GREYS), 4095, "has 8 bits, so task.white=4095 has no effect: give no task.white"),
        (b"", None, "not a readable image .0 bytes in no format that Pillow reads"),
        (b"<html><body>404</body></html>", None, "no format that Pillow reads, b'<html><body>404<'"),
        (encoded(GREYS)[:50], None, "is not a readable image"),
        (encoded(GREYS, "JPEG")[:300], None, "is not a readable image"),
        (of_size(20000, 10000), None, "too large for Pillow, which reads up to 178,956,970 pixels: shrink"),
        (encoded(np.dstack([GREYS * 0] * 3 + [GREYS])), None, "has one colour and shows its picture only by transp"),
    ],
    ids=["int32", "float", "above", "below", "nan", "16", "8", "empty", "html", "cut", "cut jpeg", "bomb", "clear"],
)  # fmt: skip
def test_what_cannot_be_read_is_named(content, white, words):
    with pytest.raises(UserError, match=f"^the image .*{words}") as error:
        read(content, white)
    assert "\n" not in str(error.value)


def test_colours_of_16_bits_keep_their_upper_8():
    image = read_image({"bytes": COLOURS, "path": None}, "the image")
    assert image.mode == "RGB" and image.getpixel((0, 0)) == (1, 15, 255)


def test_digests_see_all_bits_and_name_rows():
    low, high = (np.random.default_rng(0).integers(300, 400, (4, 4)).astype(np.uint16) + level for level in (0, 40000))
    found = {digest(encoded(values)) for values in (low, high, low + 1, (low >> 8).astype(np.uint8))}
    assert len(found) == 4
    assert digest(encoded(low)) == digest(encoded(low, "TIFF")) == digest(encoded(low, "PPM"))
    with pytest.raises(UserError, match=r"^row 1 of here is not a readable image \(0 bytes"):
        digest(encoded(low), b"")
    with pytest.raises(UserError, match="^row 0 of here holds values from 0 to 65535, outside 0..255"):
        digest(encoded(DEEP), white=255)


def test_every_type_that_pillow_reads_counts_and_others_are_told(tmp_path, monkeypatch, caplog):
    assert {".jfif", ".jpe", ".webp", ".tif", ".gif", ".jp2", ".png", ".bmp"} <= set(extensions())
    assert not {".h5", ".mpg", ".eps", ".pdf", ".heic"} & set(extensions())
    told = []
    monkeypatch.setattr("surm_bench.tasks.folders.tell", told.append)
    kinds = {
        "a.jfif": "JPEG",
        "b.JPE": "JPEG",
        "c.gif": "GIF",
        "d.webp": "WEBP",
        "e.tif": "TIFF",
        "deep/f.jp2": "JPEG2000",
    }
    for split in ("train", "test"):
        for label, name in enumerate(("dark", "light")):
            for file, kind in kinds.items():
                path = tmp_path / split / name / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encoded(GREYS // 2 + 100 * label, kind))
    for other in ("dark/g.heic", "dark/notes.txt", "dark/.hidden.png", "light/h", "beside.png"):
        (tmp_path / "train" / other).write_bytes(b"")
    (tmp_path / "train" / "light" / "link").symlink_to(tmp_path / "test" / "dark")
    raw = load_task(task_config("images/folder", data_dir=str(tmp_path)), 0)
    assert raw.train["label"][:] == [0] * 6 + [1] * 6 == raw.splits["reported"]["label"][:]
    assert len(set(told)) == 1
    assert "train: 5 files are skipped" in told[0]
    assert told[0].endswith("beside.png, dark/g.heic, dark/notes.txt, light/h, light/link")


def test_a_line_is_told_once(caplog):
    for _ in range(2):
        notices.tell("seven rows are passed over")
    assert [record.message for record in caplog.records] == ["seven rows are passed over"]


def test_a_row_of_a_subset_is_named_by_its_place_in_the_file(tmp_path):
    """A JPEG is decoded where it is trained on: the place is that in the split, not in the subset."""
    good, cut = encoded(GREYS, "JPEG"), encoded(GREYS, "JPEG")[:300]
    features = Features({"image": Image(), "label": Value("int64")})
    for split in ("train", "test"):
        rows = [{"bytes": cut if row == 17 and split == "train" else good, "path": None} for row in range(20)]
        dataset = Dataset.from_dict({"image": rows, "label": [0, 1] * 10}, features=features)
        (tmp_path / "cifar10").mkdir(exist_ok=True)
        dataset.to_parquet(tmp_path / "cifar10" / f"{split}.parquet")
    config = task_config("images/cifar10", data_dir=str(tmp_path), max_train_samples=19, num_labels=2)
    raw = load_task(config, 0)
    assert raw.train_rows.tolist().index(17) != 17
    with pytest.raises(UserError, match="^row 17 of the train split of images/cifar10 is not a readable image"):
        prepare(raw, lambda image: torch.zeros(1))


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("digits", {"white": 0.0}, "task.white=0.0 is not possible: above 0"),
        ("glue/rte", {"white": 255.0}, "task.white=255.0 has no effect with task.kind=text"),
        ("digits", {"inputs": ["image", "mask"]}, r"task.inputs=\[image,mask\] of digits .*: give one column of im"),
        ("glue/rte", {"inputs": []}, r"task.inputs=\[\] of glue/rte .*: give one column of texts, or two as a pair$"),
        ("glue/rte", {"inputs": ["a", "b", "c"]}, r"\[a,b,c\] .*: give one column of texts, or two as a pair; join"),
        ("glue/rte", {"inputs": ["a", "a"]}, "name a column twice"),
        ("glue/rte", {"inputs": ["a", "label"]}, "name a column twice"),
    ],
)  # fmt: skip
def test_keys_that_would_be_ignored_are_refused(name, changes, words):
    with pytest.raises(UserError, match=words):
        task_config(name, **changes).check()
