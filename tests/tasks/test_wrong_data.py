"""Wrong data and options are refused with one line that says what is possible."""

import pytest
from support.tasks import task_config, write_rte

from surm_bench.errors import UserError
from surm_bench.tasks import check_metric, load_task, prepare


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"label": None}, "no column label; it has sentence1, sentence2"),
        ({"sentence2": None}, "no column sentence2; it has sentence1, label"),
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
    with pytest.raises(UserError, match="gives a column of .*/train.parquet the name of another column, sentence2"):
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
    with pytest.raises(UserError, match="lacks .*rte/validation.parquet: expected"):
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
        ({"fraction": 0.0}, "task.fraction=0.0 is not possible: above 0 and at most 1"),
        ({"fraction": 1.01}, "task.fraction=1.01 is not possible"),
        ({"fraction": -0.5}, "task.fraction=-0.5 is not possible"),
        ({"fraction": float("nan")}, "task.fraction=nan is not possible"),
        ({"fraction": 0.02}, "keeps 1 of 40 training rows .* the smallest possible fraction is 2/40 = 0.05"),
        ({"shots": 0}, "task.shots=0 is not possible"),
        ({"shots": 21}, "task.shots=21 is more than the 20 training rows of the smallest class, '0'"),
        ({"shots": 2, "num_labels": 3}, "task.shots=2 is more than the 0 training rows of the smallest class, '2'"),
        ({"shots": 2, "fraction": 0.5}, "task.fraction and task.shots do not go together: give at most one of"),
        ({"shots": 2, "max_train_samples": 5}, "task.shots and task.max_train_samples do not go together"),
        ({"vtab1k": True, "fraction": 0.5}, "task.vtab1k=true has no effect with task.kind=text"),
        ({"vtab1k": True}, "task.vtab1k=true has no effect with task.kind=text"),
        ({"num_labels": None}, "task.num_labels of glue/rte is null"),
        ({"extra_eval_splits": {"validation": "test"}}, "'validation' in task.extra_eval_splits is not possible"),
        ({"extra_eval_splits": {"reported": "test"}}, "'reported' in task.extra_eval_splits is not possible"),
        ({"extra_eval_splits": {"a/b": "test"}}, "'a/b' in task.extra_eval_splits is not possible"),
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
    monkeypatch.setattr("surm_bench.tasks.reader.read_splits", lambda config: pytest.fail("data were read"))
    for changes in ({"fraction": 2.0}, {"shots": 1, "vtab1k": True}, {"validation": "no"}):
        with pytest.raises(UserError):
            load_task(task_config("digits", **changes), 0)
    with pytest.raises(UserError, match="task.shots needs classes, but glue/stsb is a regression"):
        load_task(task_config("glue/stsb", shots=3), 0)


def test_an_unknown_embedded_split():
    with pytest.raises(UserError, match="unknown split of digits 'val': choose from test, train"):
        load_task(task_config("digits", extra_eval_splits={"other": "val"}), 0)


def test_a_task_and_a_model_of_two_kinds(tmp_path, tokenizer):
    raw = load_task(task_config("glue/rte", data_dir=write_rte(tmp_path)), 0)
    with pytest.raises(UserError, match="is of kind text: choose a text model"):
        prepare(raw, lambda image: image)
    with pytest.raises(UserError, match="is of kind image: choose a vision model"):
        prepare(load_task(task_config("digits"), 0), tokenizer)


def test_no_room_for_a_token(tmp_path, tokenizer):
    raw = load_task(task_config("glue/rte", data_dir=write_rte(tmp_path), max_length=4), 0)
    with pytest.raises(UserError, match="max_length=4 leaves no room for text beside 4 special tokens"):
        prepare(raw, tokenizer)


def test_a_task_has_a_label_at_least():
    with pytest.raises(UserError, match="task.num_labels=-1 is not possible"):
        check_metric(task_config("digits", num_labels=-1))
