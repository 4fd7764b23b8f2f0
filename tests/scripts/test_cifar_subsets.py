"""The subsets of CIFAR against the files they were listed from, and drawn from images that are shuffled and pooled."""

import errno
import hashlib
from pathlib import Path

import cifar_subset
import numpy as np
import pyarrow.parquet
import pytest
from cifar import subsets
from cifar.official import SPLITS
from cifar.subsets import DATA_SETS, MANIFESTS, read_manifest, rebuild
from datasets import ClassLabel, Dataset, Features, Image, concatenate_datasets

from surm_bench import hub
from surm_bench.command.errors import exit_code
from surm_bench.content import rows_digest
from surm_bench.errors import UserError
from surm_bench.tasks import sources


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
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.txt").write_text("\n".join(lines))


@pytest.fixture
def subset(tmp_path, monkeypatch) -> dict[str, Dataset]:
    """A small subset with its manifests, the same of cifar10 and of cifar100; one image is there twice."""
    train = pictures(6, seed=0)
    rows = {"train": concatenate_datasets([train, train.select([2])]), "test": pictures(3, seed=1)}
    for name in DATA_SETS:
        for split, dataset in rows.items():
            write_manifest(tmp_path / "manifests" / name, split, dataset)
    monkeypatch.setattr(subsets, "MANIFESTS", tmp_path / "manifests")
    return rows


def official(subset: dict[str, Dataset], without: int = 0) -> dict[str, Dataset]:
    """Each split of a subset, less its first images, among ten others and shuffled."""
    return {
        split: concatenate_datasets([rows.select(range(without, len(rows))), pictures(10, seed)]).shuffle(seed=0)
        for (split, rows), seed in zip(subset.items(), (2, 3), strict=True)
    }


def divided_anew(splits: dict[str, Dataset]) -> dict[str, Dataset]:
    pool = concatenate_datasets([splits["test"], splits["train"]])
    return {"train": pool.select(range(12)), "test": pool.select(range(12, len(pool)))}


def write_official(folder: Path, splits: dict[str, Dataset], name: str = "cifar10") -> Path:
    (folder / name).mkdir(parents=True)
    for split, rows in splits.items():
        rows.to_parquet(folder / name / f"{split}.parquet")
    return folder


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
    def read_rows(config, splits):
        assert (config.dataset, splits) == ("uoft-cs/cifar10", ["train", "test"]) and len(config.revision) == 40
        return [official(subset)[part].rename_column("image", "img") for part in splits]

    monkeypatch.setattr(sources, "read_rows", read_rows)
    for file, expected in zip(rebuild("cifar10", tmp_path / "out"), subset.values(), strict=True):
        assert digest(read(file)) == digest(expected)


def test_only_cifar100_is_drawn_from_pooled_splits(subset, tmp_path):
    """Of cifar10 a training image among the official test images would be a leak."""
    for name in DATA_SETS:
        write_official(tmp_path / "source", divided_anew(official(subset)), name)
    for file, expected in zip(rebuild("cifar100", tmp_path / "out", tmp_path / "source"), subset.values(), strict=True):
        assert digest(read(file)) == digest(expected)
    with pytest.raises(UserError, match="images of train, [1-7] are not among the 12 given images"):
        rebuild("cifar10", tmp_path / "out", tmp_path / "source")


def test_missing_images_are_counted(subset, tmp_path):
    """Of train's first two images none is the one that is there twice."""
    source = write_official(tmp_path / "source", official(subset, without=2))
    with pytest.raises(UserError, match="^of the 7 images of train, 2 are not among the 15 given images: give"):
        rebuild("cifar10", tmp_path / "out", source)
    assert not list(tmp_path.glob("out/*"))


def test_images_of_another_label_are_counted_apart(subset, tmp_path):
    splits = official(subset, without=1)
    changed = {split: rows.map(lambda row: {"label": (row["label"] + 1) % 10}) for split, rows in splits.items()}
    message = "^of the 10 images of train and test, 2 are not among the 28 given images and 8 have another label"
    with pytest.raises(UserError, match=message):
        rebuild("cifar100", tmp_path / "out", write_official(tmp_path / "source", changed, "cifar100"))


@pytest.mark.parametrize("damage", [lambda image: b"none", lambda image: image[:60], lambda image: image[:-500]])
def test_an_image_that_cannot_be_read(damage, subset, tmp_path):
    splits = official(subset)
    source = write_official(tmp_path / "source", splits)
    table = splits["test"].cast_column("image", Image(decode=False)).to_list()
    table[4]["image"]["bytes"] = damage(table[4]["image"]["bytes"])
    Dataset.from_list(table, features=splits["test"].features).to_parquet(source / "cifar10" / "test.parquet")
    with pytest.raises(UserError, match=r"^row 4 of .*test\.parquet is not a readable image"):
        rebuild("cifar10", tmp_path / "out", source)


def test_a_full_disk_leaves_neither_file(subset, tmp_path, monkeypatch, capsys):
    source = write_official(tmp_path / "source", official(subset))
    write = Dataset.to_parquet

    def second_fails(rows, path):
        if Path(path).name == "test.parquet":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(rows, path)

    arguments = ["cifar10", str(tmp_path / "out"), "--source", str(source)]
    with monkeypatch.context() as full:
        full.setattr(Dataset, "to_parquet", second_fails)
        assert "cifar10 (No space left on device): free space" in refusal(capsys, *arguments)
    assert not list(tmp_path.glob("out/*"))
    assert cifar_subset.main(arguments) == 0
    assert capsys.readouterr().out.count("\n") == 2


def test_a_manifest_that_contradicts_itself(subset, tmp_path):
    file = tmp_path / "manifests" / "cifar10" / "test.txt"
    first, *lines = file.read_text().splitlines()
    file.write_text("\n".join([first, *reversed(lines)]))
    with pytest.raises(
        UserError, match=f"the rows of test have digest [0-9a-f]{{12}}, but their manifest declares {first}"
    ):
        rebuild("cifar10", tmp_path / "out", write_official(tmp_path / "source", official(subset)))


def test_files_that_are_there_are_kept(subset, tmp_path):
    source = write_official(tmp_path, official(subset))
    before = (tmp_path / "cifar10" / "train.parquet").read_bytes()
    with pytest.raises(UserError, match="cifar10 exists already"):
        rebuild("cifar10", tmp_path, source)
    assert (tmp_path / "cifar10" / "train.parquet").read_bytes() == before


def test_a_folder_that_cannot_be_made(subset, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="cannot write to"):
        rebuild("cifar10", tmp_path / "out", write_official(tmp_path / "source", official(subset)))


def refusal(capsys, *arguments: str) -> str:
    """The one line that the script ends in, with exit code 2."""
    assert exit_code(cifar_subset.main, arguments) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("surm-bench: ")
    return message


def test_a_source_without_images(tmp_path, capsys):
    source = tmp_path / "none"
    message = refusal(capsys, "cifar10", str(tmp_path), "--source", str(source))
    assert str(source / "cifar10" / "train.parquet") in message and "cifar-10-binary.tar.gz" in message


def test_offline_it_speaks_of_its_own_option(tmp_path, monkeypatch, capsys):
    def read_rows(config, _):
        raise hub.OutOfReach(f"{config.dataset} is out of reach")

    monkeypatch.setattr(sources, "read_rows", read_rows)
    message = refusal(capsys, "cifar100", str(tmp_path / "out"))
    assert "uoft-cs/cifar100" in message and "give --source" in message and "cifar-100-binary.tar.gz" in message
    assert "DATA=" not in message and "demo" not in message


@pytest.mark.parametrize("name", DATA_SETS)
def test_sizes_of_the_committed_manifests(name):
    manifests = [read_manifest(MANIFESTS / name / f"{split}.txt") for split in SPLITS]
    assert [len(manifest.images) for manifest in manifests] == [10_000, 2_000]
    classes = 10 if name == "cifar10" else 100
    for manifest in manifests:
        assert {label for _, label in manifest.images} == set(range(classes))


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA_SETS)
def test_committed_manifests_rebuild_the_real_subsets(name, data_dir, tmp_path):
    """From shuffled files with 500 others in each; of cifar100 test and train are exchanged."""
    real = {split: read(data_dir / "images" / name / f"{split}.parquet") for split in SPLITS}
    mixed = {}
    for seed, (split, rows) in enumerate(real.items()):
        others = pictures(500, seed=3 + seed, classes=10 if name == "cifar10" else 100).cast(rows.features)
        mixed[split] = concatenate_datasets([rows, others]).shuffle(seed=0)
    if name == "cifar100":
        mixed = {"train": mixed["test"], "test": mixed["train"]}
    source = write_official(tmp_path / "source", mixed, name)
    for split, file in zip(SPLITS, rebuild(name, tmp_path / "out", source), strict=True):
        assert digest(read(file)) == digest(real[split]) == read_manifest(MANIFESTS / name / f"{split}.txt").rows
