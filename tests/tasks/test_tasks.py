"""Tasks on real data, metrics against scikit-learn and scipy, and the refusal of wrong data."""

import copy
import math
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet
import pytest
import torch
from datasets import Dataset, Image
from PIL import Image as PillowImage
from scipy import stats
from sklearn import metrics
from support.tasks import task_config
from transformers import DataCollatorWithPadding

from surm_bench import records
from surm_bench.config import ModelConfig
from surm_bench.config.composition import compose, resolved, settings_of
from surm_bench.errors import UserError
from surm_bench.experiment.jobs import Job
from surm_bench.experiment.matching import Runs
from surm_bench.models import build_backbone
from surm_bench.models.vision import ImageProcessor
from surm_bench.run import runner
from surm_bench.run.measure import results
from surm_bench.system.installation import config_dir
from surm_bench.tasks import Classification, RawTask, check_metric, load_task, objective_for, prepare, sources, subsets
from surm_bench.tasks.batches import TextCollator
from surm_bench.tasks.images import Images
from surm_bench.tasks.metrics.direction import GREATER_IS_BETTER
from surm_bench.training import History

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

VIT_DIGITS = ModelConfig(name="vit_digits", family="vision", source="embedded", checkpoint="vit_digits")


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
    config = settings_of(resolved([f"task={name}"])).task
    assert config.name == name and CONFIGS[NAMES.index(name)].read_text().startswith("# ")
    config.num_labels = config.num_labels or 7  # a folder's are counted
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


# --- metrics and losses -----------------------------------------------------------------------------------------------


def test_classification_metrics_equal_scikit_learn():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(200, 2)), rng.integers(0, 2, 200)
    predicted = logits.argmax(1)
    accuracy = metrics.accuracy_score(labels, predicted)
    assert objective_for(task_config("glue/rte")).metrics(logits, labels) == pytest.approx({"accuracy": accuracy})
    assert objective_for(task_config("glue/mrpc")).metrics(logits, labels) == pytest.approx(
        {"accuracy": accuracy, "f1": metrics.f1_score(labels, predicted)}
    )
    assert objective_for(task_config("glue/cola")).metrics(logits, labels) == pytest.approx(
        {"matthews_correlation": metrics.matthews_corrcoef(labels, predicted)}
    )


def test_correlations_equal_scipy_and_are_zero_for_constants():
    rng, config = np.random.default_rng(0), task_config("glue/stsb")
    logits, labels = rng.normal(size=(100, 1)).astype(np.float32), rng.uniform(0, 5, 100).astype(np.float32)
    expected = {
        "spearmanr": stats.spearmanr(logits[:, 0], labels).statistic,
        "pearson": stats.pearsonr(logits[:, 0].astype(float), labels.astype(float)).statistic,
    }
    assert objective_for(config).metrics(logits, labels) == pytest.approx(expected)
    assert objective_for(config).metrics(np.full((100, 1), 3.0), labels) == {"spearmanr": 0.0, "pearson": 0.0}
    always = np.tile([0.0, 1.0], (100, 1))
    assert objective_for(task_config("glue/cola")).metrics(always, np.arange(100) % 2) == {"matthews_correlation": 0.0}


def test_loss_equals_the_closed_form():
    logits, labels = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]]), torch.tensor([1, 2])
    expected = (math.log(math.e + math.e**2 + 1) - 2 + math.log(3)) / 2
    assert objective_for(task_config("glue/mnli")).loss(logits, labels).item() == pytest.approx(expected)
    regression = objective_for(task_config("glue/stsb")).loss(torch.tensor([[1.0], [3.0]]), torch.tensor([2.0, 5.0]))
    assert regression.item() == pytest.approx((1 + 4) / 2)


def test_an_objective_knows_which_evaluation_is_best(monkeypatch):
    """By hand: the first of two that are equally good, on the split asked for, whichever way the metric goes."""
    scores = [{"validation": {"f1": v}, "reported": {"f1": r}} for v, r in ((0.2, 0.9), (0.8, 0.1), (0.8, 0.5))]
    evaluations = [{"epoch": epoch, "scores": named} for epoch, named in enumerate(scores)]
    objective = Classification("f1_accuracy", "f1")
    assert objective.best(evaluations, "validation")["epoch"] == 1
    assert objective.best(evaluations, "reported")["epoch"] == 0
    monkeypatch.setitem(GREATER_IS_BETTER, "f1", False)
    assert objective.best(evaluations, "validation")["epoch"] == 0
    assert objective.best(evaluations, "reported")["epoch"] == 1


# --- real data --------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("side", ["left", "right"])
def test_batches_of_text_equal_those_of_transformers(tokenizer, side):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.padding_side = side
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


# --- subsets and the holdout ------------------------------------------------------------------------------------------


SIZES_OF_CLASSES = [3, 40, 11, 90]  # of a made-up training split, 144 rows


def write_imbalanced(folder: Path) -> str:
    """task.data_dir of glue/mnli with four classes of SIZES_OF_CLASSES rows; a premise is the number of its row."""
    labels = np.random.default_rng(7).permutation(np.repeat(np.arange(4), SIZES_OF_CLASSES))
    (folder / "mnli").mkdir()
    for split in ("train", "validation", "validation_mismatched"):
        rows = {"premise": [str(i) for i in range(144)], "hypothesis": ["h"] * 144, "label": labels.tolist()}
        pyarrow.parquet.write_table(pyarrow.table(rows), folder / "mnli" / f"{split}.parquet")
    return str(folder)


@pytest.fixture(scope="module")
def draw(tmp_path_factory):
    """(seed, **task options) -> the set of training rows and the rows of each class; draw.load -> the task."""
    folder = write_imbalanced(tmp_path_factory.mktemp("imbalanced"))

    def load(seed: int = 0, **options) -> RawTask:
        return load_task(task_config("glue/mnli", data_dir=folder, num_labels=4, **options), seed)

    def rows(seed: int = 0, **options) -> tuple[set[str], list[int]]:
        raw = load(seed, **options)
        assert len(raw.splits["reported"]) == len(raw.splits["mismatched"]) == 144  # reported splits stay whole
        return set(raw.train["premise"][:]), np.bincount(raw.train["label"][:], minlength=4).tolist()

    rows.load = load
    return rows


@pytest.mark.parametrize(
    ("fraction", "counts"),
    [
        (4 / 144, [1, 1, 1, 1]),
        (12 / 144, [3, 3, 3, 3]),
        (0.25, [3, 11, 11, 11]),  # 36: the smallest class is used up
        (40 / 144, [3, 13, 11, 13]),
        (0.5, [3, 29, 11, 29]),  # 72
        (1.0, SIZES_OF_CLASSES),
    ],
)
def test_a_fraction_is_as_balanced_as_class_sizes_allow(draw, fraction, counts):
    """Water filled into four vessels by hand."""
    rows, found = draw(fraction=fraction)
    assert found == counts and len(rows) == sum(counts)


def test_a_remainder_goes_to_some_classes_once():
    """6 rows of four classes: two of them have one more; which, a seed decides."""
    labels = np.repeat(np.arange(4), SIZES_OF_CLASSES)
    counts = [np.bincount(labels[subsets.balanced_order(labels, seed)[:6]]) for seed in range(30)]
    assert all(sorted(count.tolist()) == [1, 1, 2, 2] for count in counts)
    assert (np.sum(counts, axis=0) > 30).all()  # every class is among the lucky ones sometimes


def test_fractions_and_shots_are_nested_and_drawn_by_the_subset_seed_alone(draw):
    fractions = [draw(fraction=f)[0] for f in (0.03, 0.05, 0.1, 0.33, 0.8, 1.0)]
    assert all(small < large for small, large in zip(fractions, fractions[1:], strict=False))
    shots = [draw(shots=n) for n in (1, 2, 3)]
    assert [counts for _, counts in shots] == [[n] * 4 for n in (1, 2, 3)]
    assert shots[0][0] < shots[1][0] < shots[2][0]
    for option in ({"fraction": 0.3}, {"shots": 2}):
        assert draw(**option) == draw(seed=1, **option)
        assert draw(**option)[0] != draw(subset_seed=1, **option)[0]


def test_the_whole_fraction_is_the_whole_split_in_its_order(tmp_path):
    folder = write_imbalanced(tmp_path)
    whole, plain = (
        load_task(task_config("glue/mnli", data_dir=folder, num_labels=4, **options), 0).train[:]
        for options in ({"fraction": 1.0}, {})
    )
    assert whole == plain


def test_a_fraction_of_a_regression_is_a_random_subset(tmp_path):
    labels = np.linspace(0, 5, 40).tolist()
    folder = write_rte(tmp_path, label=labels)
    (tmp_path / "rte").rename(tmp_path / "stsb")

    def drawn(fraction: float, **options) -> list[float]:
        return load_task(task_config("glue/stsb", data_dir=folder, fraction=fraction, **options), 0).train["label"][:]

    assert len(drawn(0.25)) == 10 and set(drawn(0.25)) < set(drawn(0.5)) < set(labels)
    assert drawn(0.25) != drawn(0.25, subset_seed=1)
    with pytest.raises(UserError, match="smallest possible fraction is 1/40 = 0.025"):
        drawn(0.01)


@pytest.mark.parametrize("validation", ["holdout", "tuning"])
@pytest.mark.parametrize("subset", [{"shots": 3}, {"fraction": 0.3}, {"max_train_samples": 50}], ids=str)
def test_a_subset_trains_whole_and_validates_on_unused_rows(draw, subset, validation):
    """mnli's premises are row numbers: they tell which rows there are."""
    options = {"subset_seed": 4, **subset}
    whole, _ = draw(**options)
    raw = draw.load(validation=validation, validation_rows=60, **options)
    held = raw.splits["validation"]["premise"][:]
    assert set(raw.train["premise"][:]) == whole
    assert len(held) == 60 and not whole & set(held) and [int(row) for row in held] == raw.rows["validation"].tolist()
    assert list(raw.splits) == (["reported", "validation", "mismatched"] if validation == "holdout" else ["validation"])
    assert draw.load(9, validation=validation, validation_rows=60, **options).splits["validation"]["premise"][:] == held


def test_validation_rows_differ_only_where_a_subset_takes_them(draw):
    """All are heads of one order of the rows, each without its own training rows."""
    found = {}
    for size in (1, 40, 90):
        raw = draw.load(validation="tuning", max_train_samples=size, subset_seed=size)
        found[size] = raw.splits["validation"]["premise"][:], set(raw.train["premise"][:])
        assert len(found[size][0]) == 144 - size  # as many as there are
    order = found[1][0]
    for held, train in found.values():
        assert [row for row in order if row not in train] == [row for row in held if row in order]
    drawn_alike = subsets.shuffled_head(144, 100, "", 0).tolist()
    assert [int(row) for row in order][:99] != drawn_alike[:99]  # not what a run's seed would draw


def test_a_subset_of_all_rows_holds_out_a_tenth(draw):
    for subset in ({"fraction": 1.0}, {"max_train_samples": 144}):
        raw = draw.load(validation="tuning", **subset)
        train, held = set(raw.train["premise"][:]), set(raw.splits["validation"]["premise"][:])
        assert not train & held and len(train | held) == 144 and 10 <= len(held) <= 20


def test_a_subset_may_be_drawn_by_the_runs_seed(draw):
    """subset_seed=null: run s has the subset of subset_seed=s."""
    for subset in ({"fraction": 0.3}, {"shots": 2}, {"max_train_samples": 30}):
        assert draw(3, subset_seed=None, **subset) == draw(0, subset_seed=3, **subset)
        assert draw(3, subset_seed=None, **subset)[0] != draw(4, subset_seed=None, **subset)[0]


def test_tuning_scores_the_held_out_part_alone(tmp_path, tokenizer):
    """The reported split is read and checked all the same."""
    config = task_config("glue/rte", data_dir=write_rte(tmp_path, rows=100), validation="tuning")
    data = prepare(load_task(config, 0), tokenizer)
    assert list(data.splits) == list(data.rows) == ["validation"] and len(data.train) == 90
    table = pyarrow.table({"sentence1": ["a"], "sentence2": ["b"], "label": [7]})
    pyarrow.parquet.write_table(table, tmp_path / "rte" / "validation.parquet")
    with pytest.raises(UserError, match="validation.parquet: labels 7 are outside"):
        load_task(config, 0)


def pixels(dataset: Dataset) -> set[bytes]:
    """The images of digits tell its rows apart (no two are equal)."""
    return {image.tobytes() for image in dataset["image"]}


def test_vtab_has_1000_images_of_which_tuning_trains_on_800():
    final = load_task(task_config("digits", vtab1k=True), 0)
    tuning = [load_task(task_config("digits", vtab1k=True, validation="holdout"), seed) for seed in (0, 1)]
    train, held = pixels(tuning[0].train), pixels(tuning[0].splits["validation"])
    assert (len(final.train), list(final.splits), len(final.splits["reported"])) == (1000, ["reported"], 540)
    assert (len(tuning[0].train), len(tuning[0].splits["validation"]), len(pixels(final.train))) == (800, 200, 1000)
    assert not train & held and train | held == pixels(final.train)
    assert (
        pixels(tuning[1].train) == train and pixels(tuning[1].splits["validation"]) == held
    )  # whatever the run's seed
    other = load_task(task_config("digits", vtab1k=True, subset_seed=1), 0)
    assert pixels(other.train) != pixels(final.train)


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
    assert len(raw.train) == 40 and {name: len(split) for name, split in raw.splits.items()} == {"reported": 7}
    other = load_task(replace(raw.config, subset_seed=None), 5)
    assert other.splits["reported"][:] == raw.splits["reported"][:]  # the same for all runs


def test_holdout_is_a_stratified_tenth_apart_from_train(tmp_path):
    folder = write_rte(tmp_path, rows=200, label=[int(i % 4 == 0) for i in range(200)])
    raw = load_task(task_config("glue/rte", data_dir=folder, validation="holdout"), 0)
    held, train = raw.splits["validation"]["sentence1"][:], raw.train["sentence1"][:]
    assert len(held) == 20 and sum(raw.splits["validation"]["label"][:]) == 5
    assert sorted(held + train) == sorted(f"premise {i}" for i in range(200))
    again = load_task(task_config("glue/rte", data_dir=folder, validation="holdout"), 0)
    assert again.splits["validation"]["sentence1"][:] == held
    assert len(raw.splits["reported"]) == 200  # the reported split stays whole


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


# --- folders of images ------------------------------------------------------------------------------------------------

COLOURS = {"teal": (0, 128, 128), "amber": (255, 191, 0), "Zinc": (127, 127, 139)}  # "Zinc" sorts before lower case


def write_images(root: Path, reported: str = "validation", names=tuple(COLOURS), count: int = 6) -> str:
    """Folders of PNG and JPEG files in one colour for each class, and what desktops leave beside them."""
    for split in ("train", reported):
        for name in names:
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                image = PillowImage.new("RGB", (10 + i, 9), COLOURS.get(name, (i, i, i)))
                image.save(folder / f"{i}.{'png' if i % 2 else 'JPG'}", "png" if i % 2 else "jpeg")
            (folder / ".hidden.png").write_bytes(b"no image")
            (folder / "notes.txt").write_text("no image")
        (root / split / ".cache").mkdir()
        (root / split / ".cache" / "x.png").write_bytes(b"no image")
    return str(root)


@pytest.mark.parametrize("reported", ["validation", "test", "val"])
def test_a_folder_of_images(tmp_path, reported):
    raw = load_task(task_config("images/folder", data_dir=write_images(tmp_path, reported)), 0)
    assert raw.config.num_labels == 3
    assert raw.train.features["label"].names == ["Zinc", "amber", "teal"]
    for split in (raw.train, raw.splits["reported"]):
        assert split["label"][:] == [0] * 6 + [1] * 6 + [2] * 6
        for image, label in zip(split["image"], split["label"], strict=True):
            expected = COLOURS[["Zinc", "amber", "teal"][label]]
            assert np.abs(np.asarray(image)[4, 4].astype(int) - expected).max() <= 3  # JPEG is not exact
    assert sorted(image.width for image in raw.train["image"])[::3] == [10, 11, 12, 13, 14, 15]


def test_folders_name_their_splits(tmp_path):
    folder = write_images(tmp_path, "val")
    (tmp_path / "val" / "teal").rename(tmp_path / "gone")  # a class may be missing from a reported split
    write_images(tmp_path / "more", "test", names=("amber", "teal"), count=2)
    (tmp_path / "more" / "test").rename(tmp_path / "test")

    def load(**changes):
        return load_task(task_config("images/folder", data_dir=folder, **changes), 0)

    assert load().splits["reported"]["label"][:] == [1, 1, 2, 2]  # test goes before val
    assert load(eval_split="val").splits["reported"]["label"][:] == [0] * 6 + [1] * 6
    assert load(extra_eval_splits={"other": "val"}).splits["other"]["label"][:] == [0] * 6 + [1] * 6
    with pytest.raises(UserError, match="does not hold .*/dev: expected"):
        load(eval_split="dev")
    with pytest.raises(UserError, match="task.shots=7 is more than the 6 training rows of class 'Zinc'"):
        load(shots=7)


def test_folders_that_are_refused(tmp_path):
    def load(folder, **changes):
        return load_task(task_config("images/folder", data_dir=folder and str(folder), **changes), 0)

    write_images(tmp_path / "a")
    with pytest.raises(UserError, match="task.vtab1k needs 1000 training images: images/folder has 18"):
        load(tmp_path / "a", vtab1k=True)
    with pytest.raises(UserError, match="task.num_labels=4, but task.data_dir=.* has 3"):
        load(tmp_path / "a", num_labels=4)
    (tmp_path / "a" / "validation" / "mauve").mkdir()
    with pytest.raises(UserError, match="a/validation has the class 'mauve', the classes are Zinc, amber, teal"):
        load(tmp_path / "a")
    (tmp_path / "a" / "validation" / "mauve").rmdir()
    (tmp_path / "a" / "train" / "teal ").mkdir()
    PillowImage.new("L", (9, 9)).save(tmp_path / "a" / "train" / "teal " / "0.png")
    with pytest.raises(UserError, match="images/folder has the classes 'teal' and 'teal ', which differ in blanks"):
        load(tmp_path / "a")
    (tmp_path / "a" / "train" / "teal " / os.fsdecode(b"\xff.png")).touch()
    with pytest.raises(UserError, match=r"train/teal /\\xff.png' has a name that is not in UTF-8: rename it"):
        load(tmp_path / "a")
    (tmp_path / "a" / "train" / "teal ").rename(tmp_path / "a" / "train" / os.fsdecode(b"\xfe"))
    with pytest.raises(UserError, match=r"train/\\xfe/.*.png' has a name that is not in UTF-8: rename it"):
        load(tmp_path / "a")
    write_images(tmp_path / "b", names=["amber"])
    with pytest.raises(UserError, match="b/train needs a folder for each of at least two classes: found amber"):
        load(tmp_path / "b")
    (tmp_path / "b" / "train" / "teal").mkdir()
    with pytest.raises(UserError, match=r"b/train: no images \(.*as .png.*\) in teal"):
        load(tmp_path / "b")
    with pytest.raises(UserError, match="does not hold .*/train and .*/validation: expected <class>.*is not there"):
        load(tmp_path / "nothing")
    with pytest.raises(UserError, match="name it by --data .make: DATA="):
        load(None)


def test_a_broken_image_is_named(tmp_path):
    folder = write_images(tmp_path)
    (tmp_path / "train" / "amber" / "3.png").write_bytes(b"no image")
    raw = load_task(task_config("images/folder", data_dir=folder), 0)
    with pytest.raises(UserError, match=r"amber/3.png is not a readable image \(8 bytes in no format .*b'no image'\)"):
        prepare(raw, lambda image: torch.zeros(1, 8, 8))


def run_task(results_dir: Path, *overrides: str) -> dict:
    cfg = compose([*overrides, "adapter=lora", "trainer.progress=false", f"results_dir={results_dir}"])
    return runner.run(cfg, report=lambda line: None)


def test_a_run_on_a_folder_counts_its_classes_and_is_known_by_its_content(tmp_path):
    overrides = ["model=vit_digits", "task=images/folder", "trainer.epochs=1"]
    first = run_task(tmp_path / "r", *overrides, f"task.data_dir={write_images(tmp_path / 'here')}")
    assert first["config"]["task"]["num_labels"] == 3 and first["parameters"]["head"] == 3 * (64 + 1)
    model, data, settings = runner.load_run(records.run_folder(tmp_path / "r", first["run_id"]))
    assert runner.evaluate(model, data, settings)["accuracy"] == first["scores"]["reported"]["last"]["accuracy"]

    there = write_images(tmp_path / "there", "val")  # the same content, whatever its place and what is hidden in it
    (tmp_path / "there" / "train" / "teal" / ".DS_Store").write_bytes(b"desktop")
    assert run_task(tmp_path / "r", *overrides, f"task.data_dir={there}")["run_id"] == first["run_id"]
    (tmp_path / "there" / "train" / "teal" / "0.JPG").rename(tmp_path / "there" / "train" / "amber" / "x.jpg")
    assert run_task(tmp_path / "r", *overrides, f"task.data_dir={there}")["run_id"] != first["run_id"]

    setting = (("optimizer.lr", first["config"]["optimizer"]["lr"]),)
    job = Job("folder", "lora", 0, setting, (*overrides, "trainer.progress=false"), ("adapter=lora",))
    runs = Runs(tmp_path / "r", [f"task.data_dir={tmp_path / 'here'}"])
    assert runs.id(job) == first["run_id"] and runs.problems == []


# --- extra reported splits --------------------------------------------------------------------------------------------


def test_mismatched_scores_are_those_of_an_evaluation_by_hand(tmp_path):
    """Three epochs on made-up pairs: the record has the history's scores, and the saved model says the same."""
    (tmp_path / "mnli").mkdir()
    rng, words = np.random.default_rng(0), ["cat", "dog", "sees", "likes", "the", "a"]
    for split, size in {"train": 90, "validation_matched": 40, "validation_mismatched": 50}.items():
        rows = {
            "premise": [" ".join(rng.choice(words, 5)) for _ in range(size)],
            "hypothesis": [" ".join(rng.choice(words, 4)) for _ in range(size)],
            "label": rng.integers(0, 3, size).tolist(),
        }
        pyarrow.parquet.write_table(pyarrow.table(rows), tmp_path / "mnli" / f"{split}.parquet")
    overrides = ["model=roberta_tiny", "task=glue/mnli", f"task.data_dir={tmp_path}", "trainer.epochs=3"]
    record = run_task(tmp_path, *overrides, "optimizer.lr=0.01", "task.max_eval_samples=30")
    best = max(record["history"], key=lambda point: point["scores"]["reported"]["accuracy"])
    last = record["history"][-1]
    assert record["scores"] == {
        split: {"best": best["scores"][split], "last": last["scores"][split]} for split in ("reported", "mismatched")
    }
    assert (record["epochs"]["best"]["epoch"], record["epochs"]["last"]["epoch"]) == (best["epoch"], 2)

    model, data, settings = runner.load_run(records.run_folder(tmp_path, record["run_id"]))
    rows, tokenizer = load_task(settings.task, 0).splits["mismatched"].to_list(), data.collate.tokenizer
    pairs = (tokenizer(row["premise"], row["hypothesis"], return_tensors="pt") for row in rows)
    with torch.no_grad():
        predicted = [model(**pair).logits.argmax().item() for pair in pairs]
    assert last["scores"]["mismatched"]["accuracy"] == pytest.approx(
        metrics.accuracy_score([r["label"] for r in rows], predicted)
    )
    stored = pyarrow.parquet.read_table(tmp_path / "mnli" / "validation_mismatched.parquet").to_pylist()
    assert len(rows) == 30 and all(row in stored for row in rows)
    assert runner.evaluate(model, data, settings)["accuracy"] == last["scores"]["reported"]["accuracy"]

    (tmp_path / "mnli" / "validation_mismatched.parquet").write_bytes(
        (tmp_path / "mnli" / "validation_matched.parquet").read_bytes()
    )
    other = run_task(tmp_path, *overrides, "optimizer.lr=0.01", "task.max_eval_samples=30")
    assert other["run_id"] != record["run_id"]  # the extra split is part of a run's identity
    assert other["scores"]["mismatched"] == other["scores"]["reported"]
    (tmp_path / "mnli" / "validation_mismatched.parquet").unlink()
    without = run_task(tmp_path, *overrides, "~task.extra_eval_splits.mismatched", "trainer.max_steps=1")
    assert set(without["scores"]) == {"reported"}


def test_extra_splits_do_not_choose_the_epoch():
    """By hand: the extra split would have epoch 0, the reported one 1, the held-out part 2."""
    f1 = {"reported": (0.1, 0.8, 0.7, 0.6), "validation": (0.1, 0.2, 0.9, 0.3), "odd": (0.9, 0.3, 0.2, 0.4)}
    evaluations = [
        {"epoch": i, "step": i + 1, "train_loss": 1.0, "scores": {split: {"f1": f1[split][i]} for split in f1}}
        for i in range(4)
    ]
    history, objective = History(evaluations=evaluations), Classification("f1_accuracy", "f1")
    held_out = results(history, objective, "holdout")
    assert held_out["selection"] == "validation" and held_out["epochs"]["best"] == {"epoch": 2, "step": 3}
    assert held_out["scores"]["odd"] == {"best": {"f1": 0.2}, "last": {"f1": 0.4}}
    dev = results(history, objective, "dev")
    assert dev["selection"] == "reported" and dev["epochs"]["best"] == {"epoch": 1, "step": 2}
    assert dev["scores"]["odd"] == {"best": {"f1": 0.3}, "last": {"f1": 0.4}}


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"label": None}, "no column label; found sentence1, sentence2"),
        ({"sentence2": None}, "no column sentence2; found sentence1, label"),
        ({"label": [-1] * 40}, r"labels -1 are outside 0..1 \(-1 marks a row without a label: leave it out\)"),
        ({"label": [0, 2, 7, 1] * 10}, "labels 2, 7 are outside 0..1"),
        ({"label": list(range(40))}, "labels 2, 3, 4, 5, 6, ... are outside 0..1"),
        ({"label": [0, None] * 20}, "column label has rows without a label"),
        ({"sentence1": [1] * 40}, "column sentence1 must hold strings"),
        ({"sentence1": ["a", None] * 20}, r"column sentence1 has missing values, the first in row 1 \(from 0\)"),
        ({"sentence1": [""][:0], "sentence2": [""][:0], "label": [0][:0]}, "no rows"),
    ],
    ids=str,
)
def test_bad_splits(tmp_path, columns, words):
    with pytest.raises(UserError, match=words) as error:
        load_task(task_config("glue/rte", data_dir=write_rte(tmp_path, **columns)), 0)
    assert "train.parquet" in str(error.value) and "\n" not in str(error.value)


def test_a_column_cannot_get_the_name_of_another(tmp_path):
    folder = write_rte(tmp_path)
    with pytest.raises(UserError, match="task.rename names a column of .*/train.parquet sentence2, as another one"):
        load_task(task_config("glue/rte", data_dir=folder, rename={"sentence1": "sentence2"}), 0)


def test_regression_labels_must_be_finite(tmp_path):
    folder = write_rte(tmp_path, label=[0.0, float("nan")] * 20)
    (tmp_path / "rte").rename(tmp_path / "stsb")
    with pytest.raises(UserError, match="finite"):
        load_task(task_config("glue/stsb", data_dir=folder), 0)


def test_images_must_be_images(tmp_path):
    folder = write_rte(tmp_path, image=["not an image"] * 40)
    (tmp_path / "rte").rename(tmp_path / "cifar10")
    with pytest.raises(UserError, match="column image must hold images"):
        load_task(task_config("images/cifar10", data_dir=folder, eval_split="validation"), 0)


def test_missing_folder_or_file(tmp_path):
    with pytest.raises(UserError, match="rte/train.parquet and .*rte/validation.parquet: expected") as error:
        load_task(task_config("glue/rte", data_dir=str(tmp_path)), 0)
    assert str(error.value).count("rte/train") == str(error.value).count("rte/validation") == 1
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
        ({"validation": "test"}, "choose from dev, holdout, tuning"),
        (
            {"validation": "holdout", "max_train_samples": 39},
            "here 1 of the 40 training rows .* fewer than its 2 classes",
        ),
        ({"validation": "tuning", "shots": 1, "validation_rows": 1}, "fewer than its 2 classes.*validation_rows=1"),
        ({"validation_rows": 0}, "task.validation_rows=0 is not possible"),
        ({"subset_seed": -1}, "task.subset_seed=-1 is not possible"),
        ({"fraction": 0.0}, "task.fraction=0.0 is not possible: above 0, up to 1"),
        ({"fraction": 1.01}, "task.fraction=1.01 is not possible"),
        ({"fraction": -0.5}, "task.fraction=-0.5 is not possible"),
        ({"fraction": float("nan")}, "task.fraction=nan is not possible"),
        ({"fraction": 0.02}, "leaves 1 of 40 training rows .* the smallest possible fraction is 2/40 = 0.05"),
        ({"shots": 0}, "task.shots=0 is not possible"),
        ({"shots": 21}, "task.shots=21 is more than the 20 training rows of class '0'"),
        ({"shots": 2, "num_labels": 3}, "task.shots=2 is more than the 0 training rows of class '2'"),
        ({"shots": 2, "fraction": 0.5}, "task.fraction and task.shots do not go together: give at most one of"),
        ({"shots": 2, "max_train_samples": 5}, "task.shots and task.max_train_samples do not go together"),
        ({"vtab1k": True, "fraction": 0.5}, "task.fraction and task.vtab1k do not go together"),
        ({"vtab1k": True}, "task.vtab1k is a protocol for images, glue/rte is a task of text"),
        ({"num_labels": None}, "task.num_labels of glue/rte is null"),
        ({"extra_eval_splits": {"validation": "test"}}, "cannot have the name 'validation'"),
        ({"extra_eval_splits": {"reported": "test"}}, "cannot have the name 'reported'"),
        ({"extra_eval_splits": {"a/b": "test"}}, "cannot have the name 'a/b'"),
        (
            {"extra_eval_splits": {"test": "test"}},
            "rte/test.parquet, the extra split 'test' .*'~task.extra_eval",
        ),
    ],
    ids=str,
)
def test_bad_options(tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        load_task(task_config("glue/rte", data_dir=write_rte(tmp_path), **changes), 0)


def test_choices_are_refused_before_the_data_are_read(monkeypatch):
    monkeypatch.setattr("surm_bench.tasks.digest.read_splits", lambda config: pytest.fail("data were read"))
    for changes in ({"fraction": 2.0}, {"shots": 1, "vtab1k": True}, {"validation": "no"}):
        with pytest.raises(UserError):
            load_task(task_config("digits", **changes), 0)
    with pytest.raises(UserError, match="task.shots is for classes, glue/stsb is a regression"):
        load_task(task_config("glue/stsb", shots=3), 0)


def test_an_unknown_embedded_split():
    with pytest.raises(UserError, match="unknown split of digits 'val': choose from test, train"):
        load_task(task_config("digits", extra_eval_splits={"other": "val"}), 0)


def test_a_task_and_a_model_of_two_kinds(tmp_path, tokenizer):
    raw = load_task(task_config("glue/rte", data_dir=write_rte(tmp_path)), 0)
    with pytest.raises(UserError, match="task of text: choose a text model"):
        prepare(raw, lambda image: image)
    with pytest.raises(UserError, match="task of image: choose a vision model"):
        prepare(load_task(task_config("digits"), 0), tokenizer)


def test_no_room_for_a_token(tmp_path, tokenizer):
    raw = load_task(task_config("glue/rte", data_dir=write_rte(tmp_path), max_length=4), 0)
    with pytest.raises(UserError, match="max_length=4 leaves no place for text beside 4 special tokens"):
        prepare(raw, tokenizer)


def test_a_task_has_a_label_at_least():
    with pytest.raises(UserError, match="task.num_labels=-1 is not possible"):
        check_metric(task_config("digits", num_labels=-1))
