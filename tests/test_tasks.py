"""Tasks on real data, metrics against scikit-learn and scipy, and the refusal of wrong data."""

import math
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from datasets import Dataset, Image
from omegaconf import OmegaConf
from PIL import Image as PillowImage
from scipy import stats
from sklearn import metrics

from surm_bench.config import TaskConfig, config_dir
from surm_bench.errors import UserError
from surm_bench.tasks import compute_metrics, load_task, loss, prepare, sources

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


def task_config(name: str, **changes) -> TaskConfig:
    yaml = OmegaConf.load(config_dir() / "task" / f"{name}.yaml")
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TaskConfig), yaml, changes))


def write_rte(folder: Path, rows: int = 40, **columns) -> str:
    """A folder that can be task.data_dir, with glue/rte's columns unless others are given (None leaves one out)."""
    own = {
        "sentence1": [f"premise {i}" for i in range(rows)],
        "sentence2": [f"hypothesis {i}" for i in range(rows)],
        "label": [i % 2 for i in range(rows)],
    }
    table = pyarrow.table({name: values for name, values in {**own, **columns}.items() if values is not None})
    (folder / "rte").mkdir()
    for split in ("train", "validation"):
        pyarrow.parquet.write_table(table, folder / "rte" / f"{split}.parquet")
    return str(folder)


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    special = dict(pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    return PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=64, **special)


# --- configurations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_task_composes_and_has_its_primary_metric(name):
    config = task_config(name)
    assert config.name == name and CONFIGS[NAMES.index(name)].read_text().startswith("# ")
    labels = np.arange(20) % max(2, config.num_labels)
    logits = labels[:, None].astype(float) if config.num_labels == 1 else np.eye(config.num_labels)[labels]
    scores = compute_metrics(config, logits, labels)
    assert config.primary_metric in scores
    assert all(score == pytest.approx(1.0) for score in scores.values())  # perfect predictions


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("digits", "grammar"))])
def test_embedded_tasks_load_offline(name):
    raw = load_task(task_config(name), seed=0)
    assert len(raw.train) > len(raw.evaluation) > 100


# --- metrics and losses -----------------------------------------------------------------------------------------------


def test_classification_metrics_equal_scikit_learn():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(200, 2)), rng.integers(0, 2, 200)
    predicted = logits.argmax(1)
    accuracy = metrics.accuracy_score(labels, predicted)
    assert compute_metrics(task_config("glue/rte"), logits, labels) == pytest.approx({"accuracy": accuracy})
    assert compute_metrics(task_config("glue/mrpc"), logits, labels) == pytest.approx(
        {"accuracy": accuracy, "f1": metrics.f1_score(labels, predicted)}
    )
    assert compute_metrics(task_config("glue/cola"), logits, labels) == pytest.approx(
        {"matthews_correlation": metrics.matthews_corrcoef(labels, predicted)}
    )


def test_correlations_equal_scipy_and_are_zero_for_constants():
    rng, config = np.random.default_rng(0), task_config("glue/stsb")
    logits, labels = rng.normal(size=(100, 1)).astype(np.float32), rng.uniform(0, 5, 100).astype(np.float32)
    expected = {
        "spearmanr": stats.spearmanr(logits[:, 0], labels).statistic,
        "pearson": stats.pearsonr(logits[:, 0].astype(float), labels.astype(float)).statistic,
    }
    assert compute_metrics(config, logits, labels) == pytest.approx(expected)
    assert compute_metrics(config, np.full((100, 1), 3.0), labels) == {"spearmanr": 0.0, "pearson": 0.0}
    always = np.tile([0.0, 1.0], (100, 1))
    assert compute_metrics(task_config("glue/cola"), always, np.arange(100) % 2) == {"matthews_correlation": 0.0}


def test_loss_equals_the_closed_form():
    logits, labels = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]]), torch.tensor([1, 2])
    expected = (math.log(math.e + math.e**2 + 1) - 2 + math.log(3)) / 2
    assert loss(task_config("glue/mnli"), logits, labels).item() == pytest.approx(expected)
    regression = loss(task_config("glue/stsb"), torch.tensor([[1.0], [3.0]]), torch.tensor([2.0, 5.0]))
    assert regression.item() == pytest.approx((1 + 4) / 2)


# --- real data --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZES)
def test_real_data_have_their_sizes_and_are_not_touched(data_dir, name):
    folder = data_dir / name
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    raw = load_task(task_config(name, data_dir=str(folder.parent)), seed=0)
    assert (len(raw.train), len(raw.evaluation)) == SIZES[name]
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


def test_real_images_are_transformed_on_the_fly(data_dir):
    raw = load_task(task_config("images/cifar10", data_dir=str(data_dir / "images")), seed=0)
    asked = []

    def processor(image: PillowImage.Image) -> torch.Tensor:
        asked.append(image)
        return torch.tensor(np.asarray(image.resize((64, 64)))).permute(2, 0, 1).float()

    data = prepare(raw, processor)
    batch = data.collate([data.train[i] for i in (3, 5)])
    assert batch["x"].shape == (2, 3, 64, 64) and batch["labels"].tolist() == raw.train[[3, 5]]["label"]
    assert torch.equal(batch["x"][1], processor(raw.train[5]["image"]))
    assert data.lengths is None and len(asked) < 10


def test_regression_labels_are_floats(data_dir, tokenizer):
    config = task_config("glue/stsb", data_dir=str(data_dir / "glue"), max_train_samples=4)
    data = prepare(load_task(config, 0), tokenizer)
    labels = data.collate([data.train[i] for i in range(4)])["labels"]
    assert labels.dtype == torch.float32 and labels.shape == (4,)


# --- subsets and the holdout ------------------------------------------------------------------------------------------


def test_subsets_are_seeded_and_nested(tmp_path):
    folder = write_rte(tmp_path)

    def first(n: int, seed: int, run_seed: int = 0) -> list[str]:
        config = task_config("glue/rte", data_dir=folder, max_train_samples=n, subset_seed=seed)
        return load_task(config, run_seed).train["sentence1"][:]

    assert first(10, 0) == first(10, 0, run_seed=1) != first(10, 1)
    assert first(20, 0)[:10] == first(10, 0)
    assert sorted(first(40, 0)) == sorted(f"premise {i}" for i in range(40))


def test_evaluation_subset(tmp_path):
    raw = load_task(task_config("glue/rte", data_dir=write_rte(tmp_path), max_eval_samples=7), 0)
    assert (len(raw.train), len(raw.evaluation), raw.holdout) == (40, 7, None)


def test_holdout_is_a_stratified_tenth_apart_from_train(tmp_path):
    folder = write_rte(tmp_path, rows=200, label=[int(i % 4 == 0) for i in range(200)])
    raw = load_task(task_config("glue/rte", data_dir=folder, validation="holdout"), 0)
    held, train = raw.holdout["sentence1"][:], raw.train["sentence1"][:]
    assert len(held) == 20 and sum(raw.holdout["label"][:]) == 5
    assert sorted(held + train) == sorted(f"premise {i}" for i in range(200))
    again = load_task(task_config("glue/rte", data_dir=folder, validation="holdout"), 0)
    assert again.holdout["sentence1"][:] == held
    assert len(raw.evaluation) == 200  # the reported split stays whole


def test_small_images_are_transformed_once():
    raw, asked = load_task(task_config("digits", max_train_samples=30, max_eval_samples=20), 0), []

    def processor(image: PillowImage.Image) -> torch.Tensor:
        asked.append(image)
        return torch.zeros(1, 8, 8)

    data = prepare(raw, processor)
    count = len(asked)
    assert data.train[3]["x"].shape == (1, 8, 8) and len(asked) == count


# --- the hub ----------------------------------------------------------------------------------------------------------


def test_hub_columns_take_our_names(monkeypatch):
    """uoft-cs/cifar100 calls its columns img, fine_label and coarse_label."""
    asked = []

    def load_dataset(path, subset, split, revision):
        asked.append((path, subset, split, revision))
        columns = {"img": [PillowImage.new("RGB", (32, 32))] * 3, "fine_label": [0, 99, 5], "coarse_label": [0, 1, 2]}
        return [Dataset.from_dict(columns).cast_column("img", Image())] * 2

    monkeypatch.setattr(sources, "load_dataset", load_dataset)
    raw = load_task(task_config("images/cifar100"), seed=0)
    assert raw.train.column_names == ["image", "label"] and raw.train["label"][:] == [0, 99, 5]
    assert asked == [("uoft-cs/cifar100", "cifar100", ["train", "test"], raw.config.revision)]
    assert len(raw.config.revision) == 40  # a commit, not a branch


def test_hub_out_of_reach(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="out of reach.*DATA=.*make demo"):
        load_task(task_config("glue/rte", dataset="nobody/no-such-data"), 0)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"label": None}, "no column label; found sentence1, sentence2"),
        ({"sentence2": None}, "no column sentence2; found sentence1, label"),
        ({"label": [-1] * 40}, r"labels -1 are outside 0..1 \(-1 marks a split without labels\)"),
        ({"label": [0, 2, 7, 1] * 10}, "labels 2, 7 are outside 0..1"),
        ({"label": list(range(40))}, "labels 2, 3, 4, 5, 6, ... are outside 0..1"),
        ({"label": ["yes"] * 40}, "must hold whole numbers, found for instance 'yes'"),
        ({"label": [0, None] * 20}, "must hold whole numbers, found for instance None"),
        ({"sentence1": [1] * 40}, "column sentence1 must hold strings"),
        ({"sentence1": ["a", None] * 20}, "column sentence1 has missing values"),
        ({"sentence1": [""][:0], "sentence2": [""][:0], "label": [0][:0]}, "no rows"),
    ],
    ids=str,
)
def test_bad_splits(tmp_path, columns, words):
    with pytest.raises(UserError, match=words) as error:
        load_task(task_config("glue/rte", data_dir=write_rte(tmp_path, **columns)), 0)
    assert "train.parquet" in str(error.value) and "\n" not in str(error.value)


def test_regression_labels_must_be_finite(tmp_path):
    folder = write_rte(tmp_path, label=[0.0, float("nan")] * 20)
    (tmp_path / "rte").rename(tmp_path / "stsb")
    with pytest.raises(UserError, match="finite"):
        load_task(task_config("glue/stsb", data_dir=folder), 0)


def test_images_must_be_images(tmp_path):
    folder = write_rte(tmp_path, image=["not an image"] * 40)
    (tmp_path / "rte").rename(tmp_path / "cifar10")
    with pytest.raises(UserError, match="column image must hold images"):
        load_task(task_config("images/cifar10", data_dir=folder), 0)  # its validation.parquet stands in for a test


def test_missing_folder_or_file(tmp_path):
    with pytest.raises(UserError, match="rte/train.parquet and .*rte/validation.parquet: expected"):
        load_task(task_config("glue/rte", data_dir=str(tmp_path)), 0)
    folder = write_rte(tmp_path)
    (tmp_path / "rte" / "train.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match="train.parquet is not a readable parquet file"):
        load_task(task_config("glue/rte", data_dir=folder), 0)
    (tmp_path / "rte" / "validation.parquet").unlink()
    with pytest.raises(UserError, match="does not hold .*rte/validation.parquet: expected"):
        load_task(task_config("glue/rte", data_dir=folder), 0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_train_samples": 41}, r"max_train_samples=41 is outside 1\.\.40"),
        ({"max_eval_samples": 0}, r"max_eval_samples=0 is outside 1\.\.40"),
        ({"validation": "test"}, "choose from dev, holdout"),
        ({"validation": "holdout", "max_train_samples": 2}, "needs more than the 2 training rows"),
    ],
)
def test_bad_options(tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        load_task(task_config("glue/rte", data_dir=write_rte(tmp_path), **changes), 0)


def test_a_task_and_a_model_of_two_kinds(tmp_path, tokenizer):
    raw = load_task(task_config("glue/rte", data_dir=write_rte(tmp_path)), 0)
    with pytest.raises(UserError, match="task of text: choose a text model"):
        prepare(raw, lambda image: image)
    with pytest.raises(UserError, match="task of image: choose a vision model"):
        prepare(load_task(task_config("digits"), 0), tokenizer)


def test_no_room_for_a_token(tmp_path, tokenizer):
    raw = load_task(task_config("glue/rte", data_dir=write_rte(tmp_path), max_length=4), 0)
    with pytest.raises(UserError, match="max_length=4 leaves no room beside 4 special tokens"):
        prepare(raw, tokenizer)
