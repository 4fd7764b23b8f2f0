from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, matthews_corrcoef
from support.runs import GRAMMAR, start

from surm_bench.config import TaskConfig
from surm_bench.config.composition import resolved
from surm_bench.config.identity import run_id
from surm_bench.config.positive_class import named_class, positive_class, shown_metric
from surm_bench.errors import UserError
from surm_bench.metrics import metric_function
from surm_bench.tasks import check_metric, objective_for

F1 = {"metric": "f1_accuracy", "primary_metric": "f1", "num_labels": 2, "label_names": None, "name": "mine"}
NAMES = ["equivalent", "not_equivalent"]


@pytest.mark.parametrize(
    ("given", "names", "number", "name", "shown"),
    [
        (None, None, 1, "1", "f1"),  # GLUE's
        ("0", None, 0, "0", "f1 of class 0"),
        (None, NAMES, 1, "not_equivalent", "f1 of class not_equivalent"),
        ("equivalent", NAMES, 0, "equivalent", "f1 of class equivalent"),
        ("0", NAMES, 0, "equivalent", "f1 of class 0"),
        ("1", ["1", "0"], 0, "1", "f1"),  # a name goes before a number
    ],
)
def test_the_positive_class_by_name_or_number(given, names, number, name, shown):
    task = TaskConfig(**F1 | {"positive_class": given, "label_names": names})
    assert (positive_class(task), named_class(task), shown_metric(task)) == (number, name, shown)
    assert positive_class(replace(task, positive_class=named_class(task))) == number  # as a record has it


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positive_class": "2"}, "unknown task.positive_class '2': choose from 0, 1"),
        ({"positive_class": "same", "label_names": NAMES}, "'same': choose from equivalent, not_equivalent"),
        ({"positive_class": "1", "metric": "accuracy"}, "positive_class=1 has no effect with task.metric=accuracy"),
        ({"num_labels": 3}, "mine has 3: give task.metric=macro_f1_accuracy task.primary_metric=macro_f1"),
    ],
)
def test_refused_before_training(changes, message):
    with pytest.raises(UserError, match=message):
        check_metric(TaskConfig(**F1 | changes))


@pytest.mark.parametrize("positive", [0, 1])
def test_f1_is_scikit_learns_of_that_class(positive):
    rng = np.random.default_rng(positive)
    labels, logits = rng.integers(2, size=50), rng.normal(size=(50, 2))
    expected = f1_score(labels, logits.argmax(-1), pos_label=positive)
    objective = objective_for(TaskConfig(**F1 | {"positive_class": str(positive)}))
    assert objective.metrics(logits, labels)["f1"] == pytest.approx(expected)
    assert metric_function("f1", positive)(labels, logits.argmax(-1)) == pytest.approx(expected)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_macro_f1_and_matthews_of_several_classes(classes):
    rng = np.random.default_rng(classes)
    labels, predictions = rng.integers(classes, size=40), rng.integers(classes, size=(6, 40))
    predictions[0] = 1  # classes that are never predicted
    labels[labels == classes - 1] = 0  # a class that no label has
    macro = [f1_score(labels, row, average="macro") for row in predictions]
    assert metric_function("macro_f1")(labels, predictions) == pytest.approx(macro)
    matthews = [matthews_corrcoef(labels, row) for row in predictions]
    assert metric_function("matthews_correlation")(labels, predictions) == pytest.approx(matthews, abs=1e-12)
    task = TaskConfig(**F1 | {"metric": "macro_f1_accuracy", "primary_metric": "macro_f1", "num_labels": classes})
    check_metric(task)
    scores = objective_for(task).metrics(np.eye(classes)[predictions[1]], labels)
    assert scores["macro_f1"] == pytest.approx(macro[1])


def test_the_id_has_the_number_where_it_is_not_glues():
    config = resolved(["model=roberta_tiny", "task=grammar/paraphrase"])

    def identifier(**changes):
        return run_id(config.having(model={"digest": "a"}, task={"digest": "b"} | changes))

    assert identifier() == identifier(positive_class="1") == identifier(label_names=NAMES)
    assert identifier() == identifier(label_names=NAMES, positive_class="not_equivalent")
    assert identifier() != identifier(label_names=NAMES, positive_class="equivalent")
    assert identifier(positive_class="0") == identifier(label_names=NAMES, positive_class="equivalent")


def test_names_are_corrected_without_a_rerun(tmp_path):
    table = pd.DataFrame({"sentence": ["the dog sleeps .", "dog the sleeps ."] * 20, "label": [1, 0] * 20})
    (tmp_path / "mine").mkdir()
    for split in ("train", "validation"):
        table.to_parquet(tmp_path / "mine" / f"{split}.parquet")
    task = ["task.name=mine", f"task.data_dir={tmp_path}", "task.metric=f1_accuracy", "task.primary_metric=f1"]
    task += ["adapter=lora", "task.max_train_samples=null", "task.max_eval_samples=null", "trainer.max_steps=1"]
    first = start(tmp_path, *GRAMMAR, *task, "task.label_names=[good,bad]")
    second = start(tmp_path, *GRAMMAR, *task, "task.label_names=[bad,good]")
    third = start(tmp_path, *GRAMMAR, *task)  # which names none
    for one, other in ((first, second), (second, third)):
        assert (one.run_id, one.created, one.scores) == (other.run_id, other.created, other.scores)
    named = [(r.config.task.label_names, r.config.task.positive_class) for r in (first, second, third)]
    assert named == [(["good", "bad"], "bad"), (["bad", "good"], "good"), (["bad", "good"], "good")]
