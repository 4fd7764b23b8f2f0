"""The tasks of configs/task: their files, real data, and the hub."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset, Image
from PIL import Image as PillowImage
from support.tasks import VIT_DIGITS, task_config, write_rte
from transformers import DataCollatorWithPadding

from surm_bench.config.composition import read_files, resolved
from surm_bench.errors import UserError
from surm_bench.models import build_backbone
from surm_bench.models.vision import ImageProcessor
from surm_bench.system.installation import config_dir
from surm_bench.tasks import check_metric, load_task, objective_for, prepare, sources
from surm_bench.tasks.batches import TextCollator
from surm_bench.tasks.images import Images

CONFIGS = sorted((config_dir() / "task").rglob("*.yaml"))
NAMES = [str(file.relative_to(config_dir() / "task").with_suffix("")) for file in CONFIGS]
SIZES = {  # official, but for the two subsets of CIFAR
    "glue/cola": (8551, 1043),
    "glue/sst2": (67349, 872),
    "glue/mrpc": (3668, 408),
    "glue/stsb": (5749, 1500),
    "glue/rte": (2490, 277),
    "images/cifar10": (10000, 2000),
    "images/cifar100": (10000, 2000),
}


@pytest.mark.parametrize("name", NAMES)
def test_every_task_composes_and_has_its_primary_metric(name):
    read_files(f"task={one}" for one in NAMES)  # all in one call of Hydra
    config = resolved([f"task={name}"]).task
    assert config.name == name and CONFIGS[NAMES.index(name)].read_text().startswith("# ")
    config = replace(config, num_labels=config.num_labels or 7)  # a folder's are counted
    check_metric(config)
    labels = np.arange(20) % max(2, config.num_labels)
    logits = labels[:, None].astype(float) if config.num_labels == 1 else np.eye(config.num_labels)[labels]
    scores = objective_for(config).metrics(logits, labels)
    assert config.primary_metric in scores
    assert all(score == pytest.approx(1.0) for score in scores.values())  # perfect predictions


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("digits", "grammar"))])
def test_embedded_tasks_load_offline(name):
    raw = load_task(task_config(name), seed=0)
    assert len(raw.train) > len(raw.splits["reported"]) > 100


def test_the_benchmark_is_complete():
    glue = {name.removeprefix("glue/") for name in NAMES if name.startswith("glue/")}
    assert glue == {"cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"}  # Wang et al. 2019
    labels = {"cifar10": 10, "cifar100": 100, "sun397": 397, "dtd": 47, "stl10": 10, "svhn": 10}
    configs = {name: task_config(f"images/{name}") for name in labels}
    assert {name: config.num_labels for name, config in configs.items()} == labels
    assert all(len(config.revision) == 40 and config.eval_split == "test" for config in configs.values())


@pytest.mark.parametrize("name", SIZES)
def test_real_data_have_their_sizes_and_are_not_touched(data_dir, name):
    folder = data_dir / name
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    raw = load_task(task_config(name, data_dir=str(folder.parent)), seed=0)
    assert (len(raw.train), len(raw.splits["reported"])) == SIZES[name]
    assert raw.train.column_names == [*raw.config.inputs, "label"]
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def test_real_text_is_tokenised_as_the_tokenizer_does_it(data_dir, tokenizer):
    raw = load_task(task_config("glue/rte", data_dir=str(data_dir / "glue"), max_train_samples=50), seed=0)
    data = prepare(raw, tokenizer)
    batch = data.collate([data.train[i] for i in range(50)])
    rows = raw.train[:]
    expected = tokenizer(
        rows["sentence1"], rows["sentence2"], truncation=True, max_length=64, padding=True, return_tensors="pt"
    )
    assert torch.equal(batch["input_ids"], expected["input_ids"])
    assert torch.equal(batch["attention_mask"], expected["attention_mask"])
    assert batch["labels"].tolist() == rows["label"] and batch["labels"].dtype == torch.int64
    assert data.lengths == expected["attention_mask"].sum(1).tolist()
    shortest = int(np.argmin(data.lengths))
    assert data.collate([data.train[shortest]])["input_ids"].shape == (1, data.lengths[shortest])  # dynamic padding


def test_batches_of_text_equal_those_of_transformers(tokenizer):
    examples = [
        {"input_ids": list(range(5, 5 + n)), "token_type_ids": [0] * (n - 1) + [1], "labels": n} for n in (3, 6, 1)
    ]
    wanted = DataCollatorWithPadding(tokenizer)(examples)
    found = TextCollator(tokenizer)(examples)
    assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_text_to_be_scored_is_ordered_by_length(tmp_path, tokenizer):
    texts = ["a a a", "a", "a a a a a", "a a"]
    folder = write_rte(tmp_path, sentence1=texts, sentence2=["b"] * 4, label=[0, 1, 1, 0])
    data = prepare(load_task(task_config("glue/rte", data_dir=folder), 0), tokenizer)
    assert [(len(e["input_ids"]), e["labels"]) for e in data.splits["reported"]] == [(10, 1), (8, 0), (7, 0), (6, 1)]
    assert data.rows["reported"].tolist() == [2, 0, 3, 1]
    assert [len(e["input_ids"]) for e in data.train] == [8, 6, 10, 7] == list(data.lengths)


def test_texts_that_are_cut_are_counted_and_told(tmp_path, tokenizer, caplog):
    folder = write_rte(tmp_path, sentence1=["a a a", "a", "a a a a a", "a a"], sentence2=["b"] * 4, label=[0, 1, 1, 0])
    prepare(load_task(task_config("glue/rte", data_dir=folder), 0), tokenizer)
    assert not caplog.messages
    prepare(load_task(task_config("glue/rte", data_dir=folder, max_length=7), 0), tokenizer)  # 8, 6, 10 and 7 tokens
    cut = "2 of 4 texts are cut to 7 tokens (task.max_length=7)"
    assert caplog.messages == [f"glue/rte, {split} split: {cut}" for split in ("train", "reported")]


def test_real_images_are_decoded_when_asked_for_and_once(data_dir, monkeypatch):
    raw = load_task(task_config("images/cifar10", data_dir=str(data_dir / "images")), seed=0)
    asked = []

    def shrink(image: PillowImage.Image) -> torch.Tensor:
        asked.append(image)
        return torch.tensor(np.asarray(image.resize((64, 64)))).permute(2, 0, 1)

    processor = ImageProcessor("RGB", shrink, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    data = prepare(raw, processor)
    batch = data.collate([data.train[i] for i in (3, 5)])
    assert batch["x"].shape == (2, 3, 64, 64) and batch["labels"].tolist() == raw.train[[3, 5]]["label"]
    pixels = np.asarray(raw.train[5]["image"].resize((64, 64))).transpose(2, 0, 1)
    mean, std = np.array([0.5, 0.4, 0.3])[:, None, None], np.array([0.2, 0.3, 0.4])[:, None, None]
    np.testing.assert_allclose(batch["x"][1], (pixels / 255 - mean) / std, atol=1e-5)
    assert data.lengths is None and len(asked) < 10
    count = len(asked)
    assert torch.equal(data.train[5]["x"], batch["x"][1]) and len(asked) == count

    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=10**6))  # no memory to keep them
    poor = prepare(raw, processor)
    count = len(asked)
    assert all(torch.equal(poor.train[5]["x"], batch["x"][1]) for _ in range(2)) and len(asked) == count + 2


def test_loader_processes_share_the_pixels_that_they_decode(data_dir):
    config = task_config("images/cifar10", data_dir=str(data_dir / "images"), max_train_samples=40)
    images = Images(load_task(config, 0).train, build_backbone(VIT_DIGITS, 10).processor, config)
    images.keep()
    loader = torch.utils.data.DataLoader(images, 8, num_workers=2, multiprocessing_context="fork")
    first = torch.cat([batch["x"] for batch in loader])
    assert images.known.all()
    images.rows = None  # nothing is decoded again
    assert torch.equal(torch.cat([batch["x"] for batch in loader]), first)


def test_regression_labels_are_floats(data_dir, tokenizer):
    config = task_config("glue/stsb", data_dir=str(data_dir / "glue"), max_train_samples=4)
    data = prepare(load_task(config, 0), tokenizer)
    labels = data.collate([data.train[i] for i in range(4)])["labels"]
    assert labels.dtype == torch.float32 and labels.shape == (4,)


def test_hub_columns_take_our_names(monkeypatch):
    """uoft-cs/cifar100 calls its columns img, fine_label and coarse_label."""
    asked = []

    def read_rows(config, splits):
        asked.append((config.dataset, config.subset, splits, config.revision))
        columns = {"img": [PillowImage.new("RGB", (32, 32))] * 3, "fine_label": [0, 99, 5], "coarse_label": [0, 1, 2]}
        return [Dataset.from_dict(columns).cast_column("img", Image())] * 2

    monkeypatch.setattr(sources, "read_rows", read_rows)
    raw = load_task(task_config("images/cifar100"), seed=0)
    assert raw.train.column_names == ["image", "label"] and raw.train["label"][:] == [0, 99, 5]
    assert asked == [("uoft-cs/cifar100", "cifar100", ["train", "test"], raw.config.revision)]
    assert len(raw.config.revision) == 40  # a commit, not a branch


def test_hub_out_of_reach(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="out of reach.*--data .*DATA=.*make demo"):
        load_task(task_config("glue/rte", dataset="nobody/no-such-data"), 0)
