"""A run is scored only on classes that have its numbers: the same rows give the record's score, or are refused."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from support.runs import folder_of, start

from surm_bench import records
from surm_bench.command.errors import exit_code
from surm_bench.command.main import command
from surm_bench.config import Config
from surm_bench.config.composition import resolved
from surm_bench.errors import UserError
from surm_bench.tasks import TaskReader
from surm_bench.tasks.embedded import grammar
from surm_bench.trained.evaluate import evaluate

PAIRS = ["model=roberta_tiny", "adapter=lora", "task=grammar/paraphrase"]
NAMES = ["not_equivalent", "equivalent"]  # of the generator's ClassLabel; the other way round in sorted order


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> str:
    """The rows of the generator, with names as labels."""
    folder = tmp_path_factory.mktemp("tables") / "paraphrase"
    folder.mkdir()
    for split, rows in grammar.load("paraphrase").items():
        frame = rows.to_pandas()
        frame["label"] = [NAMES[number] for number in frame["label"]]
        frame.to_csv(folder / f"{split}.csv", index=False)
    return f"task.data_dir={folder.parent}"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    return folder_of(folder, start(folder, *PAIRS, "trainer.max_steps=20", "optimizer.lr=0.02"))


def scored(run: Path, *overrides: str) -> int:
    return exit_code(command, ["evaluate", str(run), *overrides])


def test_the_same_rows_with_names_have_the_score_of_the_record(run, tables, capsys):
    score = records.read_file(run / "record.json").scores["reported"]["last"]["accuracy"]
    assert scored(run) == 0 and f"{score:.4f}" in capsys.readouterr().out
    assert scored(run, tables) == 2
    assert "the classes equivalent, not_equivalent, but the run has classes without names" in capsys.readouterr().err
    assert scored(run, tables, f"task.label_names=[{','.join(NAMES)}]") == 0
    assert f"{score:.4f}  (record: {score:.4f})" in capsys.readouterr().out


def refusal(trained: Config, config: Config) -> str:
    with pytest.raises(UserError) as refused:
        evaluate(Path(), SimpleNamespace(config=trained), config)
    return str(refused.value)


def as_recorded(*overrides: str) -> Config:
    config = resolved(list(overrides))
    reader = TaskReader(config.task)
    return replace(config, task=replace(reader.config, digest=reader.digest))


def test_a_run_on_names_is_not_scored_on_a_class_label_of_another_order(tables):
    line = refusal(as_recorded(*PAIRS, tables), resolved(PAIRS))
    assert "give task.label_names=[equivalent,not_equivalent]" in line


def test_a_run_on_names_is_not_scored_on_numbers(tmp_path, tables):
    (tmp_path / "paraphrase").mkdir()
    for split, rows in grammar.load("paraphrase").items():
        rows.to_pandas().to_csv(tmp_path / "paraphrase" / f"{split}.csv", index=False)
    line = refusal(as_recorded(*PAIRS, tables), resolved([*PAIRS, f"task.data_dir={tmp_path}"]))
    assert "if 0 means equivalent and so on, give task.label_names=[equivalent,not_equivalent]" in line


def folder(place: Path, *classes: str) -> list[str]:
    for split in ("train", "test"):
        for name in classes:
            (place / split / name).mkdir(parents=True)
            Image.new("L", (8, 8)).save(place / split / name / "1.png")
    return ["model=vit_digits", "adapter=lora", "task=images/folder", f"task.data_dir={place}"]


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (["ant", "cat"], "has the classes ant, cat, but the run was trained on cat, dog"),
        (["Dog", "cat"], "give task.label_names=[cat,Dog]"),  # sorted by code points
    ],
)
def test_classes_that_overlap_are_refused(tmp_path, classes, words):
    trained = as_recorded(*folder(tmp_path / "trained", "cat", "dog"))
    assert words in refusal(trained, resolved(folder(tmp_path / "scored", *classes)))
