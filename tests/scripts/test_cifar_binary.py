"""The official binary version of CIFAR: files that are written here byte by byte, and a subset rebuilt from them."""

import hashlib
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from cifar import subsets
from cifar.binary import read_binary
from cifar.subsets import rebuild
from datasets import Dataset, Features, Image, Value

from surm_bench.content import rows_digest
from surm_bench.errors import UserError

TRAIN = {"cifar10": [f"data_batch_{number}.bin" for number in (1, 2, 3, 4, 5)], "cifar100": ["train.bin"]}
TEST = {"cifar10": "test_batch.bin", "cifar100": "test.bin"}
FOLDERS = {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}


def record(name: str, image: np.ndarray, label: int) -> bytes:
    """Of (32, 32, 3): all of a colour, then all of the next; cifar100 has a coarse label first, here a wrong one."""
    planes = bytes(image[row][column][colour] for colour in range(3) for row in range(32) for column in range(32))
    return bytes([label] if name == "cifar10" else [(label + 1) % 20, label]) + planes


def noise(count: int, seed: int, classes: int = 10) -> list[tuple[np.ndarray, int]]:
    rng = np.random.default_rng(seed)
    return [(rng.integers(256, size=(32, 32, 3), dtype=np.uint8), int(rng.integers(classes))) for _ in range(count)]


def write_files(name: str, folder: Path, train: list, test: list) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    files = TRAIN[name]
    for number, file in enumerate(files):
        (folder / file).write_bytes(b"".join(record(name, *pair) for pair in train[number :: len(files)]))
    (folder / TEST[name]).write_bytes(b"".join(record(name, *pair) for pair in test))
    return folder


def pack(name: str, folder: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:gz") as members:
        members.add(folder, FOLDERS[name])
    return archive


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FOLDERS)
def test_a_subset_is_rebuilt_from_the_official_files(name, packed, tmp_path, monkeypatch):
    train, test = noise(12, seed=0), noise(6, seed=1)
    source = write_files(name, tmp_path / "source", train, test)
    (source / "readme.html").write_text("other members are left out")
    chosen = {"train": [train[i] for i in (7, 0, 11, 4)], "test": [test[i] for i in (5, 2)]}
    if name == "cifar100":  # its subset is of both splits
        chosen["train"][1] = test[0]
    (tmp_path / "manifests" / name).mkdir(parents=True)
    features = Features(image=Image(), label=Value("int64"))
    for split, pairs in chosen.items():
        images, labels = map(list, zip(*pairs, strict=True))
        rows = Dataset.from_dict({"image": images, "label": labels}, features=features)
        lines = [rows_digest(rows, ["image"], "label", "image")]
        lines += [f"{hashlib.sha256(image.tobytes()).hexdigest()[:12]} {label}" for image, label in pairs]
        (tmp_path / "manifests" / name / f"{split}.txt").write_text("\n".join(lines))
    monkeypatch.setattr(subsets, "MANIFESTS", tmp_path / "manifests")
    if packed:
        source = pack(name, source, tmp_path / "official.tar.gz")
    for file, pairs in zip(rebuild(name, tmp_path / "out", source), chosen.values(), strict=True):
        rows = Dataset(pyarrow.parquet.read_table(file))
        assert rows["label"][:] == [label for _, label in pairs]
        for found, (image, _) in zip(rows["image"], pairs, strict=True):
            assert np.array_equal(found, image)


@pytest.mark.parametrize(("name", "labels"), [("cifar10", [7]), ("cifar100", [3, 42])])
def test_colours_and_orientation(name, labels, tmp_path):
    """Red in the upper left, green in the upper right, blue in the lower left corner; the rest is black."""
    planes = bytearray(3 * 1024)
    planes[0] = planes[1024 + 31] = planes[2048 + 31 * 32] = 255
    for file in [*TRAIN[name], TEST[name]]:
        (tmp_path / file).write_bytes(bytes(labels) + planes)
    for split in read_binary(name, tmp_path):
        row = split.dataset[0]
        corners = [row["image"].getpixel(place) for place in ((0, 0), (31, 0), (0, 31), (31, 31))]  # (column, row)
        assert corners == [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)]
        assert row["image"].size == (32, 32) and row["label"] == labels[-1]
    assert [len(split.dataset) for split in read_binary(name, tmp_path)] == [len(TRAIN[name]), 1]


def test_a_file_that_is_missing(tmp_path):
    source = write_files("cifar10", tmp_path / "source", noise(5, seed=0), noise(1, seed=1))
    (source / "data_batch_3.bin").unlink()
    packed = pack("cifar10", source, tmp_path / "official.tar.gz")
    for place in (source, packed):
        with pytest.raises(UserError, match=f"{place} lacks data_batch_3.bin: .*cifar-10-binary.tar.gz"):
            rebuild("cifar10", tmp_path / "out", place)


def test_an_archive_of_the_other_data_set(tmp_path):
    source = write_files("cifar10", tmp_path / "source", noise(5, seed=0), noise(1, seed=1))
    with pytest.raises(UserError, match="lacks train.bin, test.bin"):
        rebuild("cifar100", tmp_path / "out", pack("cifar10", source, tmp_path / "official.tar.gz"))
    with pytest.raises(UserError, match="has no images of .*.bin files of .*cifar-100-binary.tar.gz"):
        rebuild("cifar100", tmp_path / "out", source)


@pytest.mark.parametrize("size", [0, 3074, 6145])
def test_records_that_are_not_whole(size, tmp_path):
    source = write_files("cifar10", tmp_path / "source", noise(5, seed=0), noise(1, seed=1))
    (source / "test_batch.bin").write_bytes(bytes(size))
    with pytest.raises(UserError, match=f"test_batch.bin of .* has {size:,} bytes, not whole records of 3,073"):
        rebuild("cifar10", tmp_path / "out", source)


def test_a_label_that_cifar_does_not_have(tmp_path):
    source = write_files("cifar10", tmp_path / "source", noise(5, seed=0), [(noise(1, seed=1)[0][0], 10)])
    with pytest.raises(UserError, match=r"^test of .*source: labels 10 are outside 0\.\.9"):
        rebuild("cifar10", tmp_path / "out", source)


@pytest.mark.parametrize("damaged", [lambda content: content[: len(content) // 2], lambda content: b"a text"])
def test_an_archive_that_cannot_be_read(damaged, tmp_path):
    source = write_files("cifar10", tmp_path / "source", noise(20, seed=0), noise(1, seed=1))
    archive = pack("cifar10", source, tmp_path / "official.tar.gz")
    archive.write_bytes(damaged(archive.read_bytes()))
    with pytest.raises(UserError, match="official.tar.gz is not a readable .tar.gz archive"):
        rebuild("cifar10", tmp_path / "out", archive)
    assert not list(tmp_path.glob("out/*"))
