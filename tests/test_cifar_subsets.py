"""The subsets of CIFAR against the files they were listed from, and drawn from images that are shuffled and pooled."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, Image, concatenate_datasets

from surm_bench.content import rows_digest
from surm_bench.errors import UserError
from surm_bench.tasks import cifar_subsets, sources
from surm_bench.tasks.cifar_subsets import MANIFESTS, NAMES, SPLITS, read_manifest, rebuild


def digest(rows: Dataset) -> str:
    return rows_digest(rows, ["image"], "label", "image")


def read(file: Path) -> Dataset:
    return Dataset(pyarrow.parquet.read_table(file))


def pictures(count: int, seed: int, classes: int = 10) -> Dataset:
    rng = np.random.default_rng(seed)
    features = Features({"image": Image(), "label": ClassLabel(num_classes=classes)})
    images = list(rng.integers(256, size=(count, 32, 32, 3), dtype=np.uint8))
    return Dataset.from_dict({"image": images, "label": rng.integers(classes, size=count)}, features=features)


def write_manifest(folder: Path, split: str, rows: Dataset) -> None:
    """Written by hand, of the arrays that the rows hold."""
    lines = [digest(rows)]
    for image, label in zip(rows["image"], rows["label"], strict=True):
        lines.append(f"{hashlib.sha256(np.asarray(image).tobytes()).hexdigest()[:12]} {label}")
    (folder / "cifar10").mkdir(parents=True, exist_ok=True)
    (folder / "cifar10" / f"{split}.txt").write_text("\n".join(lines))


@pytest.fixture
def subset(tmp_path, monkeypatch) -> dict[str, Dataset]:
    """A small subset of cifar10 with its manifests; one image is there twice."""
    train = pictures(6, seed=0)
    rows = {"train": concatenate_datasets([train, train.select([2])]), "test": pictures(3, seed=1)}
    for split, dataset in rows.items():
        write_manifest(tmp_path / "manifests", split, dataset)
    monkeypatch.setattr(cifar_subsets, "MANIFESTS", tmp_path / "manifests")
    return rows


def official(subset: dict[str, Dataset], without: int = 0) -> dict[str, Dataset]:
    """The images of a subset among others, shuffled, and divided into train and test anew."""
    pool = concatenate_datasets([*subset.values(), pictures(20, seed=2)])
    order = np.random.default_rng(0).permutation(np.arange(len(pool))[without:])
    return {"train": pool.select(order[:12]), "test": pool.select(order[12:])}


def write_official(folder: Path, splits: dict[str, Dataset], name: str = "cifar10") -> str:
    (folder / name).mkdir(parents=True)
    for split, rows in splits.items():
        rows.to_parquet(folder / name / f"{split}.parquet")
    return str(folder)


def test_drawn_from_local_files(subset, tmp_path):
    source = write_official(tmp_path / "source", official(subset))
    files = rebuild("cifar10", tmp_path / "out", source)
    assert files == [tmp_path / "out" / "cifar10" / f"{split}.parquet" for split in SPLITS]
    for file, expected in zip(files, subset.values(), strict=True):
        rows = read(file)
        assert rows.column_names == ["image", "label"] and isinstance(rows.features["image"], Image)
        assert rows["label"][:] == expected["label"][:]
        for image, wanted in zip(rows["image"], expected["image"], strict=True):
            assert np.array_equal(image, wanted)


def test_drawn_from_the_hub(subset, tmp_path, monkeypatch):
    def load_dataset(path, name, split, revision):
        assert (path, split) == ("uoft-cs/cifar10", ["train", "test"]) and len(revision) == 40
        return [official(subset)[part].rename_column("image", "img") for part in split]

    monkeypatch.setattr(sources, "load_dataset", load_dataset)
    for file, expected in zip(rebuild("cifar10", tmp_path / "out"), subset.values(), strict=True):
        assert digest(read(file)) == digest(expected)


def test_missing_images_are_counted(subset, tmp_path):
    source = write_official(tmp_path / "source", official(subset, without=2))
    with pytest.raises(UserError, match="^2 of the subset's 10 images are not among the 28 given ones$"):
        rebuild("cifar10", tmp_path / "out", source)
    assert not list(tmp_path.glob("out/*/*"))


def test_an_image_of_another_label_is_missing(subset, tmp_path):
    splits = official(subset)
    changed = {split: rows.map(lambda row: {"label": (row["label"] + 1) % 10}) for split, rows in splits.items()}
    with pytest.raises(UserError, match="^10 of the subset's 10 images"):
        rebuild("cifar10", tmp_path / "out", write_official(tmp_path / "source", changed))


def test_a_manifest_that_contradicts_itself(subset, tmp_path):
    file = tmp_path / "manifests" / "cifar10" / "test.txt"
    first, *lines = file.read_text().splitlines()
    file.write_text("\n".join([first, *reversed(lines)]))
    with pytest.raises(
        UserError, match=f"the rows of test have the digest [0-9a-f]{{12}}, their manifest says {first}"
    ):
        rebuild("cifar10", tmp_path / "out", write_official(tmp_path / "source", official(subset)))


def test_files_that_are_there_are_kept(subset, tmp_path):
    source = write_official(tmp_path, official(subset))
    before = (tmp_path / "cifar10" / "train.parquet").read_bytes()
    with pytest.raises(UserError, match=r"train\.parquet is there already"):
        rebuild("cifar10", tmp_path, source)
    assert (tmp_path / "cifar10" / "train.parquet").read_bytes() == before


def test_a_folder_that_cannot_be_made(subset, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="cannot write to"):
        rebuild("cifar10", tmp_path / "out", write_official(tmp_path / "source", official(subset)))


def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["cifar_subset.py", "cifar10", str(tmp_path), "--source", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match="2"):
        cifar_subsets.main()
    message = capsys.readouterr().err
    assert message.startswith("surm-bench: ") and message.count("\n") == 1 and str(tmp_path / "none") in message


@pytest.mark.parametrize("name", NAMES)
def test_sizes_of_the_committed_manifests(name):
    manifests = [read_manifest(MANIFESTS / name / f"{split}.txt") for split in SPLITS]
    assert [len(manifest.images) for manifest in manifests] == [10_000, 2_000]
    classes = 10 if name == "cifar10" else 100
    for manifest in manifests:
        assert {label for _, label in manifest.images} == set(range(classes))


@pytest.mark.parametrize("name", NAMES)
def test_committed_manifests_rebuild_the_real_subsets(name, data_dir, tmp_path):
    """From the two files pooled and shuffled, among 500 others."""
    real = {split: read(data_dir / "images" / name / f"{split}.parquet") for split in SPLITS}
    pool = concatenate_datasets(list(real.values()))
    others = pictures(500, seed=3, classes=100 if name == "cifar100" else 10).cast(pool.features)
    pool = concatenate_datasets([pool, others]).shuffle(seed=0)
    source = write_official(
        tmp_path / "source", {"train": pool.select(range(5_000, len(pool))), "test": pool.select(range(5_000))}, name
    )
    for split, file in zip(SPLITS, rebuild(name, tmp_path / "out", source), strict=True):
        assert digest(read(file)) == digest(real[split]) == read_manifest(MANIFESTS / name / f"{split}.txt").rows
