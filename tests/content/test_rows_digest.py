"""Digests of rows against hashes made by hand, equal for what must not matter and different for what must."""

import struct
from io import BytesIO

import numpy as np
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as PillowImage
from support.hashes import by_hand

from surm_bench.content import rows_digest
from surm_bench.errors import UserError

TEXTS = {"sentence1": ["ab", "ä€"], "sentence2": ["c", ""], "label": [1, 0]}


PAIR = ["sentence1", "sentence2"]


PIXELS = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)  # two RGB images, 4 high and 5 wide


def texts(**changes) -> str:
    return rows_digest(Dataset.from_dict(TEXTS | changes), PAIR, "label", "text")


def encoded(pixels: np.ndarray, mode: str | None = None, **options) -> bytes:
    buffer, image = BytesIO(), PillowImage.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, **{"format": "PNG", **options})
    return buffer.getvalue()


def images(files: list[bytes], labels: tuple[int, ...] = (3, 0)) -> str:
    features = Features({"image": Image(), "label": Value("int64")})
    rows = {"image": [{"bytes": file, "path": None} for file in files], "label": list(labels)}
    return rows_digest(Dataset.from_dict(rows, features=features), ["image"], "label", "image")


def test_texts_by_hand():
    fields = [b"text rows, 2 inputs"]
    fields += [b"ab", b"c", b"int64 " + struct.pack("<q", 1)]
    fields += ["ä€".encode(), b"", b"int64 " + struct.pack("<q", 0)]
    assert texts() == by_hand(*fields)


def test_images_by_hand():
    fields = [b"image rows, 1 inputs"]
    fields += [b"RGB 5x4", PIXELS[0].tobytes(), b"int64 " + struct.pack("<q", 3)]
    fields += [b"L 5x4", PIXELS[1, :, :, 0].tobytes(), b"int64 " + struct.pack("<q", 0)]
    assert images([encoded(PIXELS[0]), encoded(PIXELS[1, :, :, 0])]) == by_hand(*fields)


def test_regression_by_hand():
    rows = Dataset.from_dict({"text": ["a"], "label": [0.1]})
    expected = by_hand(b"text rows, 1 inputs", b"a", b"float32 " + struct.pack("<f", 0.1))
    assert rows_digest(rows, ["text"], "label", "text") == expected


@pytest.mark.parametrize("text", ["string", "large_string"])
@pytest.mark.parametrize(
    "labels", [("int8", "uint16", "int32", "int64"), ("float32", "float64")], ids=["classes", "regression"]
)
def test_types_of_parquet_do_not_matter(text, labels, tmp_path):
    digests = set()
    for label in labels:
        schema = pyarrow.schema({"sentence1": text, "sentence2": text, "label": label})
        pyarrow.parquet.write_table(pyarrow.table(TEXTS, schema=schema), tmp_path / "rows.parquet")
        digests.add(rows_digest(Dataset(pyarrow.parquet.read_table(tmp_path / "rows.parquet")), PAIR, "label", "text"))
    assert len(digests) == 1
    assert (digests == {texts()}) == (labels[0] == "int8")  # 1 and 1.0 are different labels


def test_what_stands_beside_the_columns_does_not_matter():
    names = ClassLabel(names=["no", "yes"])
    renamed = Dataset.from_dict({"b": TEXTS["sentence2"], "idx": [7, 8], "a": TEXTS["sentence1"], "y": [1, 0]})
    assert rows_digest(renamed.cast_column("y", names), ["a", "b"], "y", "text") == texts()


def test_a_selection_counts_as_the_rows_it_shows():
    rows = Dataset.from_dict({name: [*values, values[0]] for name, values in TEXTS.items()})
    assert rows_digest(rows.select([2, 1]), PAIR, "label", "text") == texts()


def test_batches_do_not_matter(monkeypatch):
    rows = Dataset.from_dict({"text": [str(i) for i in range(7)], "label": list(range(7))})
    whole = rows_digest(rows, ["text"], "label", "text")
    monkeypatch.setattr("surm_bench.content.rows.BATCH", 3)
    assert rows_digest(rows, ["text"], "label", "text") == whole


@pytest.mark.parametrize(
    "changes",
    [
        {"label": [0, 0]},
        {"label": [1.0, 0.0]},
        {"sentence1": ["abc", "ä€"], "sentence2": ["", ""]},  # the same characters, cut elsewhere
        {"sentence1": ["ab", "a\u0308€"]},  # another encoding of ä is another text
        {name: values[::-1] for name, values in TEXTS.items()},
        {name: values[:1] for name, values in TEXTS.items()},
        {"sentence1": TEXTS["sentence2"], "sentence2": TEXTS["sentence1"]},
    ],
    ids=["label", "kind of label", "where a text ends", "code point", "row order", "a row less", "columns exchanged"],
)
def test_what_makes_other_texts(changes):
    assert texts(**changes) != texts()


def test_encodings_of_the_same_pixels_agree():
    plain = [encoded(image) for image in PIXELS]
    packed = [encoded(image, compress_level=0) for image in PIXELS]
    bitmaps = [encoded(image, format="BMP") for image in PIXELS]
    assert plain != packed
    assert images(plain) == images(packed) == images(bitmaps)
    grey = PIXELS[0, :, :, :1].repeat(3, axis=2)
    others = [encoded(grey[:, :, 0], "P"), encoded(PIXELS[1], "RGBA")]  # the palette of greys, full alpha
    assert images(others) == images([encoded(grey), plain[1]])


def test_an_image_by_its_path(tmp_path):
    for number, image in enumerate(PIXELS):
        (tmp_path / f"{number}.png").write_bytes(encoded(image))
    rows = {"image": [str(tmp_path / f"{number}.png") for number in range(2)], "label": [3, 0]}
    rows = Dataset.from_dict(rows, features=Features({"image": Image(), "label": Value("int64")}))
    assert rows_digest(rows, ["image"], "label", "image") == images([encoded(image) for image in PIXELS])


def test_an_image_that_is_stored_turned():
    exif = PillowImage.Exif()
    exif[PillowImage.ExifTags.Base.Orientation] = 3  # upside down: datasets turns it
    turned = encoded(PIXELS[0, ::-1, ::-1], exif=exif)
    assert images([turned], (3,)) == images([encoded(PIXELS[0])], (3,))


@pytest.mark.parametrize("options", [{"format": "JPEG"}, {"format": "MPO", "save_all": True}], ids=["JPEG", "MPO"])
def test_a_jpeg_counts_by_its_file(options):
    """Also one with several pictures, as many phones write it."""
    more = {"append_images": [PillowImage.fromarray(PIXELS[1])]} if "save_all" in options else {}
    jpeg = encoded(PIXELS[0], **options, **more)
    label = b"int64 " + struct.pack("<q", 3)
    assert images([jpeg], (3,)) == by_hand(b"image rows, 1 inputs", b"JPEG", jpeg, label)


def test_what_makes_other_images():
    other = PIXELS.copy()
    other[1, 3, 4, 2] ^= 1
    different = [
        images([encoded(image) for image in PIXELS]),
        images([encoded(image) for image in other]),
        images([encoded(image) for image in PIXELS[::-1]]),
        images([encoded(image) for image in PIXELS], (3, 1)),
        images([encoded(image.reshape(5, 4, 3)) for image in PIXELS]),
        images([encoded(image[:, :, 0]) for image in PIXELS]),
        images([encoded(image[:, :, :1].repeat(3, axis=2)) for image in PIXELS]),
    ]
    assert len(set(different)) == len(different)


def test_rows_that_are_refused():
    with pytest.raises(UserError, match="unknown kind of rows 'sound': choose from image, text"):
        rows_digest(Dataset.from_dict(TEXTS), PAIR, "label", "sound")
    with pytest.raises(UserError, match="column label must hold numbers, but holds for instance 'yes'"):
        texts(label=["yes", "no"])
    with pytest.raises(UserError, match="not a readable image"):
        images([b"no image"], (3,))


def test_real_images_encoded_again(data_dir, tmp_path):
    rows = Dataset(pyarrow.parquet.read_table(data_dir / "images" / "cifar10" / "test.parquet")).select(range(200))
    again = Dataset.from_dict(
        {"image": [image.copy() for image in rows["image"]], "label": list(rows["label"])}, features=rows.features
    )
    assert rows_digest(again, ["image"], "label", "image") == rows_digest(rows, ["image"], "label", "image")
