"""Data and weights count by what they hold: filled in where it is not declared, checked where it is."""

import shutil

import pytest
from safetensors.torch import load_file, save_file
from support.runs import DIGITS, GRAMMAR, start

from surm_bench import records
from surm_bench.config import TaskConfig
from surm_bench.content import FileCache, rows_digest, tokenizer_digest, weights_digest
from surm_bench.errors import UserError
from surm_bench.models.text import HEAD
from surm_bench.models.weights import EMBEDDED
from surm_bench.run import train
from surm_bench.tasks import TaskReader
from surm_bench.tasks.embedded import grammar

BRIEF = ["adapter=linear_probe", "trainer.max_steps=1"]
WRONG = "ffffffffffff"


@pytest.fixture
def parquet(tmp_path):
    """The rows of GRAMMAR as local files."""
    folder = tmp_path / "data" / "acceptability"
    folder.mkdir(parents=True)
    for split, rows in grammar.load("acceptability").items():
        rows.to_parquet(folder / f"{split}.parquet")
    return folder.parent


def digests(record: dict) -> tuple[str, str]:
    return record.config.model.digest, record.config.task.digest


def test_what_is_not_declared_is_filled_in(tmp_path):
    record = start(tmp_path, *GRAMMAR, *BRIEF)
    model, task = digests(record)
    folder, rows = EMBEDDED / "roberta_tiny", grammar.load("acceptability")
    assert model == f"{weights_digest(folder, HEAD)}-{tokenizer_digest(folder)}"
    assert task == "-".join(
        rows_digest(rows[split], ["sentence"], "label", "text") for split in ("train", "validation")
    )
    assert (record.identity["model.digest"], record.identity["task.digest"]) == (model, task)


def test_declared_or_found_it_is_one_run(tmp_path, monkeypatch):
    record = start(tmp_path, *GRAMMAR, *BRIEF)
    model, task = digests(record)
    monkeypatch.setattr(train, "fit", lambda *_, **__: pytest.fail("trained"))
    assert start(tmp_path, *GRAMMAR, *BRIEF, f"model.digest={model}", f"task.digest={task}") == record


def test_the_same_rows_from_elsewhere_are_one_run(tmp_path, parquet):
    embedded = start(tmp_path / "a", *GRAMMAR, *BRIEF)
    local = start(tmp_path / "b", *GRAMMAR, *BRIEF, f"task.data_dir={parquet}")
    assert local.run_id == embedded.run_id and local.files == embedded.files
    shutil.copy(parquet / "acceptability" / "validation.parquet", parquet / "acceptability" / "train.parquet")
    other = start(tmp_path / "b", *GRAMMAR, *BRIEF, f"task.data_dir={parquet}")
    assert other.run_id != embedded.run_id


def test_the_same_weights_from_elsewhere_are_one_run(tmp_path, monkeypatch):
    """Other content at the same place is another run; none at all an error."""
    embedded = load_file(EMBEDDED / "vit_digits" / "model.safetensors")
    monkeypatch.setenv("HOME", str(tmp_path))
    file, local = tmp_path / "here.safetensors", "model.weights='~/here.safetensors'"
    save_file(embedded, file)
    first = start(tmp_path / "a", *DIGITS, *BRIEF)
    assert start(tmp_path / "b", *DIGITS, *BRIEF, local).run_id == first.run_id
    save_file({name: tensor + 0.01 for name, tensor in embedded.items()}, file)
    other = start(tmp_path / "b", *DIGITS, *BRIEF, local)
    assert other.run_id != first.run_id and other.history != first.history
    file.unlink()
    with pytest.raises(UserError, match="here.safetensors does not exist"):
        start(tmp_path / "b", *DIGITS, *BRIEF, local)


# What is declared and not there


def refused(tmp_path, monkeypatch, *overrides: str) -> str:
    """The one line of a run that is refused before training, and tried again when asked to."""
    with monkeypatch.context() as patched:
        patched.setattr(train, "fit", lambda *_, **__: pytest.fail("trained"))
        for _ in range(4):
            with pytest.raises(UserError) as error:
                start(tmp_path / "refused", *overrides, *BRIEF)
    assert "\n" not in str(error.value)
    assert all(not record.is_done for record in records.Archive(tmp_path / "refused").records())
    return str(error.value)


@pytest.mark.parametrize(("wrong", "output"), [(0, "split train"), (1, "split validation")])
def test_other_rows_than_declared(tmp_path, monkeypatch, wrong, output):
    parts = digests(start(tmp_path, *GRAMMAR, *BRIEF))[1].split("-")
    parts[wrong] = WRONG
    declared = "-".join(parts)
    message = refused(tmp_path, monkeypatch, *GRAMMAR, f"task.digest={declared}")
    assert (
        f"has other rows than task.digest={declared} declares; different: grammar/acceptability, {output}: give"
        in message
    )


def test_more_splits_than_declared(tmp_path, monkeypatch):
    train = digests(start(tmp_path, *GRAMMAR, *BRIEF))[1].partition("-")[0]
    message = refused(tmp_path, monkeypatch, *GRAMMAR, f"task.digest={train}")
    assert "different: the number of splits" in message


@pytest.mark.parametrize(("wrong", "output"), [(0, "weights"), (1, "tokenizer")])
def test_another_model_than_declared(tmp_path, monkeypatch, wrong, output):
    parts = digests(start(tmp_path, *GRAMMAR, *BRIEF))[0].split("-")
    found, parts[wrong] = parts[wrong], WRONG
    message = refused(tmp_path, monkeypatch, *GRAMMAR, f"model.digest={'-'.join(parts)}")
    assert f": {output} {found} instead of {WRONG}; give" in message


def test_a_model_declared_without_its_tokenizer(tmp_path, monkeypatch):
    found = digests(start(tmp_path, *GRAMMAR, *BRIEF))[0]
    message = refused(tmp_path, monkeypatch, *GRAMMAR, f"model.digest={found.partition('-')[0]}")
    assert f": it is {found}; give" in message


# The cache of digests


def test_one_file_read_in_two_ways_has_two_digests(parquet, tmp_path):
    """Columns that are exchanged by rename, of the same file, are other rows."""
    grammar.load("paraphrase")["train"].to_parquet(parquet / "acceptability" / "train.parquet")
    grammar.load("paraphrase")["validation"].to_parquet(parquet / "acceptability" / "validation.parquet")
    cache, found = FileCache(tmp_path / "cache"), []
    for rename in ({"sentence1": "one", "sentence2": "two"}, {"sentence1": "two", "sentence2": "one"}):
        config = TaskConfig(
            name="acceptability", kind="text", source="embedded", dataset=None, eval_split="validation",
            inputs=["one", "two"], rename=rename, num_labels=2, metric="accuracy", primary_metric="accuracy",
            data_dir=str(parquet),
        )  # fmt: skip
        found.append(TaskReader(config, cache).digest)
        fresh = FileCache(tmp_path / "other", verify=True)
        assert TaskReader(config, cache).digest == found[-1] == TaskReader(config, fresh).digest
    assert found[0] != found[1]
