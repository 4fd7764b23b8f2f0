"""Subsets of the training rows and rows held out: nested, drawn by their seed, and never scored twice."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from datasets import Dataset
from PIL import Image as PillowImage
from support.tasks import task_config, write_rte

from surm_bench.errors import UserError
from surm_bench.tasks import RawTask, load_task, prepare, subsets

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
