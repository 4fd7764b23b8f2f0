"""A flipped byte of a file is one line that names it, and never another number."""

import shutil

import pytest
from support.damage import IMAGES, cases, outcomes
from support.made_up import record, write_with_predictions
from support.runs import folder_of, start

from surm_bench import records
from surm_bench.errors import UserError

FILES = (
    *("record", "collected records", "adapter", "adapter's configuration", "places", "predictions"),
    *("collected predictions", "state", "weights of text", "weights of images", "tokenizer", "data"),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return cases(tmp_path_factory.mktemp("files"))


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_of_each_class_is_one_line_and_never_another_number(files, name):
    """Where something else is read, it is the same: white space of JSON, or what a format does not use."""
    found = outcomes(files[name], 4 if name == "data" else 1)  # a few of its bytes alone mislead what is above pyarrow
    assert found.keys() <= {"the same", "one line"}, found
    assert len(found["one line"]) > len(found.get("the same", []))


def test_all_files_are_tried(files):
    assert set(FILES) == set(files)


def test_collecting_does_not_replace_predictions_that_cannot_be_read(tmp_path):
    write_with_predictions(tmp_path, record(), [0.0, 1.0])
    records.collect(tmp_path)
    shutil.rmtree(tmp_path / "runs")
    damaged = (tmp_path / "predictions.parquet").read_bytes()[:-20]
    (tmp_path / "predictions.parquet").write_bytes(damaged)
    with pytest.raises(UserError, match=r"parquet cannot be read .*collecting would lose the file") as error:
        records.collect(tmp_path)
    assert "\n" not in str(error.value)
    assert (tmp_path / "predictions.parquet").read_bytes() == damaged


def test_a_run_whose_record_is_of_another_version_is_refused_in_one_line_and_made_again_when_asked_to(tmp_path):
    """As a flipped bit of the version's digit makes it, too."""
    made = start(tmp_path, *IMAGES, "adapter=lora")
    path = folder_of(tmp_path, made) / "record.json"
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 3'))
    with pytest.raises(UserError, match="this surm-bench reads 2; give rerun=true to make the run again") as error:
        start(tmp_path, *IMAGES, "adapter=lora")
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert start(tmp_path, *IMAGES, "adapter=lora", rerun=True).files == made.files
