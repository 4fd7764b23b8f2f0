"""Folders of images as tasks, and extra reported splits."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image as PillowImage
from sklearn import metrics
from support.runs import start
from support.tasks import task_config

from surm_bench import records
from surm_bench.config.composition import resolved
from surm_bench.errors import UserError
from surm_bench.experiment.jobs import Job
from surm_bench.experiment.matching import Runs
from surm_bench.run.loading import evaluate, load_run
from surm_bench.run.outcome import results
from surm_bench.tasks import Classification, load_task, prepare
from surm_bench.training import History

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
    with pytest.raises(UserError, match="lacks .*/dev: expected"):
        load(eval_split="dev")
    with pytest.raises(UserError, match="task.shots=7 is more than the 6 training rows of the smallest class, 'Zinc'"):
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
    with pytest.raises(UserError, match="a/validation has the class 'mauve', but the classes are Zinc, amber, teal"):
        load(tmp_path / "a")
    (tmp_path / "a" / "validation" / "mauve").rmdir()
    (tmp_path / "a" / "train" / "teal ").mkdir()
    PillowImage.new("L", (9, 9)).save(tmp_path / "a" / "train" / "teal " / "0.png")
    with pytest.raises(UserError, match="has the classes 'teal' and 'teal ', which differ only in blanks"):
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
    with pytest.raises(UserError, match="lacks .*/train and .*/validation: expected <class>.*does not exist"):
        load(tmp_path / "nothing")
    with pytest.raises(UserError, match="reads local images: name their folder with --data"):
        load(None)


def test_a_broken_image_is_named(tmp_path):
    folder = write_images(tmp_path)
    (tmp_path / "train" / "amber" / "3.png").write_bytes(b"no image")
    raw = load_task(task_config("images/folder", data_dir=folder), 0)
    with pytest.raises(UserError, match=r"amber/3.png is not a readable image \(8 bytes in no format .*b'no image'\)"):
        prepare(raw, lambda image: torch.zeros(1, 8, 8))


def run_task(results_dir: Path, *overrides: str) -> dict:
    return start(results_dir, *overrides, "adapter=lora", "trainer.progress=false", short=False)


def test_a_run_on_a_folder_counts_its_classes_and_is_known_by_its_content(tmp_path):
    overrides = ["model=vit_digits", "task=images/folder", "trainer.epochs=1"]
    first = run_task(tmp_path / "r", *overrides, f"task.data_dir={write_images(tmp_path / 'here')}")
    assert first.config.task.num_labels == 3 and first.parameters.head == 3 * (64 + 1)
    model, data, settings = load_run(records.run_folder(tmp_path / "r", first.run_id))
    assert evaluate(model, data, settings)["accuracy"] == first.scores["reported"]["last"]["accuracy"]

    there = write_images(tmp_path / "there", "val")  # the same content, whatever its place and what is hidden in it
    (tmp_path / "there" / "train" / "teal" / ".DS_Store").write_bytes(b"desktop")
    assert run_task(tmp_path / "r", *overrides, f"task.data_dir={there}").run_id == first.run_id
    (tmp_path / "there" / "train" / "teal" / "0.JPG").rename(tmp_path / "there" / "train" / "amber" / "x.jpg")
    assert run_task(tmp_path / "r", *overrides, f"task.data_dir={there}").run_id != first.run_id

    setting = (("optimizer.lr", first.config.optimizer.lr),)
    job = Job("folder", "lora", 0, setting, (*overrides, "trainer.progress=false"), ("adapter=lora",))
    runs = Runs(tmp_path / "r", [f"task.data_dir={tmp_path / 'here'}"])
    assert runs.id(job) == first.run_id and runs.problems == []


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
    best = max(record.history, key=lambda point: point["scores"]["reported"]["accuracy"])
    last = record.history[-1]
    assert record.scores == {
        split: {"best": best["scores"][split], "last": last["scores"][split]} for split in ("reported", "mismatched")
    }
    assert (record.epochs["best"]["epoch"], record.epochs["last"]["epoch"]) == (best["epoch"], 2)

    model, data, settings = load_run(records.run_folder(tmp_path, record.run_id))
    rows, tokenizer = load_task(settings.task, 0).splits["mismatched"].to_list(), data.collate.tokenizer
    pairs = (tokenizer(row["premise"], row["hypothesis"], return_tensors="pt") for row in rows)
    with torch.no_grad():
        predicted = [model(**pair).logits.argmax().item() for pair in pairs]
    assert last["scores"]["mismatched"]["accuracy"] == pytest.approx(
        metrics.accuracy_score([r["label"] for r in rows], predicted)
    )
    stored = pyarrow.parquet.read_table(tmp_path / "mnli" / "validation_mismatched.parquet").to_pylist()
    assert len(rows) == 30 and all(row in stored for row in rows)
    assert evaluate(model, data, settings)["accuracy"] == last["scores"]["reported"]["accuracy"]

    (tmp_path / "mnli" / "validation_mismatched.parquet").write_bytes(
        (tmp_path / "mnli" / "validation_matched.parquet").read_bytes()
    )
    other = run_task(tmp_path, *overrides, "optimizer.lr=0.01", "task.max_eval_samples=30")
    assert other.run_id != record.run_id  # the extra split is part of a run's identity
    assert other.scores["mismatched"] == other.scores["reported"]
    (tmp_path / "mnli" / "validation_mismatched.parquet").unlink()
    without = run_task(tmp_path, *overrides, "~task.extra_eval_splits.mismatched", "trainer.max_steps=1")
    assert set(without.scores) == {"reported"}


def test_extra_splits_do_not_choose_the_epoch():
    """By hand: the extra split would have epoch 0, the reported one 1, the held-out part 2."""
    f1 = {"reported": (0.1, 0.8, 0.7, 0.6), "validation": (0.1, 0.2, 0.9, 0.3), "odd": (0.9, 0.3, 0.2, 0.4)}
    evaluations = [
        {"epoch": i, "step": i + 1, "train_loss": 1.0, "scores": {split: {"f1": f1[split][i]} for split in f1}}
        for i in range(4)
    ]
    history, objective = History(evaluations=evaluations), Classification("f1_accuracy", "f1")
    held_out, dev = (
        SimpleNamespace(**results(history, objective, resolved([]).having(task={"validation": validation})))
        for validation in ("holdout", "dev")
    )
    assert held_out.selection == "validation" and held_out.epochs["best"] == {"epoch": 2, "step": 3}
    assert held_out.scores["odd"] == {"best": {"f1": 0.2}, "last": {"f1": 0.4}}
    assert dev.selection == "reported" and dev.epochs["best"] == {"epoch": 1, "step": 2}
    assert dev.scores["odd"] == {"best": {"f1": 0.3}, "last": {"f1": 0.4}}
