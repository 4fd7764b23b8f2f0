"""One record: written whole, bound to its content and its files, and never read as something that was not written."""

import json
import math
import os
import random
import shutil

import numpy as np
import pytest
from support.made_up import A, B, ended, record, write_with_predictions

from surm_bench import records
from surm_bench.content import FileCache
from surm_bench.errors import UserError
from surm_bench.records import Archive, Damaged
from surm_bench.records.store import canonical_json, seal
from surm_bench.system import atomic as atomic_module
from surm_bench.system.atomic import atomic


def one_line(error) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


# Writing


def test_write_then_read_gives_the_record_with_plain_numbers(tmp_path):
    odd = {"score": np.float32(0.5), "count": np.int64(3), "loss": math.nan, "bad": [math.inf, (1, 2)]}
    written = records.write(record(history=[odd]), tmp_path)
    path = tmp_path / "runs" / A / "record.json"

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    strict = json.loads(path.read_text(), parse_constant=refuse)
    assert written == records.read_file(path) == records.read_folder(path.parent)
    assert strict == written.document() and strict["schema_version"] == 2
    assert strict["history"] == [{"score": 0.5, "count": 3, "loss": None, "bad": [None, [1, 2]]}]
    assert [file.name for file in path.parent.iterdir()] == ["record.json"]


def test_a_crash_while_writing_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "table.md"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic(path) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["table.md"]


def test_a_crash_before_the_rename_leaves_the_old_record(tmp_path, monkeypatch):
    records.write(record(command="old"), tmp_path)

    def crash(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(atomic_module.os, "fsync", crash)
    with pytest.raises(OSError, match="no space"):
        records.write(record(command="new"), tmp_path)
    folder = records.run_folder(tmp_path, A)
    assert records.read_folder(folder).command == "old"
    assert [file.name for file in folder.iterdir()] == ["record.json"]


def test_check_writable(tmp_path):
    records.check_writable(tmp_path / "new" / "results")
    assert list((tmp_path / "new" / "results" / "runs").iterdir()) == []
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UserError, match="cannot write to results_dir") as error:  # root may write anywhere but here
        records.check_writable(file / "results")
    assert str(file / "results") in one_line(error)


# Reading what is not as it was written


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"schema_version": 2, "run_id": "a', "unreadable record"),
        (b"", "unreadable record"),
        (b"\xff\xfe\x00", "unreadable record"),
        (b"[1, 2]", "schema_version is missing"),
        (b'{"run_id": "a"}', "schema_version is missing"),
        (b'{"schema_version": 1}', "has schema_version 1: this surm-bench reads 2"),
        (b'{"schema_version": 2, "run_id": "a"}', "its checksum does not fit"),
        (b'{"schema_version": 2, "lr": NaN}', "unreadable record"),
        (b'{"schema_version": 2, "lr": 1e999}', "unreadable record"),
        (b"[" * 100_000, "unreadable record"),
    ],
)
def test_a_bad_record_is_one_line_and_the_others_are_read(tmp_path, content, says):
    good = records.write(record(), tmp_path)
    bad = records.run_folder(tmp_path, B) / "record.json"
    bad.parent.mkdir()
    bad.write_bytes(content)
    with pytest.raises(UserError, match=says) as error:
        records.read_file(bad)
    assert str(bad) in one_line(error)
    archive = Archive(tmp_path)
    assert archive.records() == [good] and archive.problems == [
        f"{error.value}; this record is left out: make the run again to replace it"
    ]
    assert isinstance(error.value, Damaged) == ("schema_version 1" not in says)


@pytest.mark.parametrize(
    "odd",
    [{"code": None}, {"config": None}, {"environment": "cpu"}, {"scores": {}}, {"scores": {"reported": {"last": 0.5}}}],
)
def test_a_record_without_a_part_is_one_line_and_the_others_are_read(tmp_path, odd):
    """It is as it was written, by a version that wrote less or by hand: its checksum fits."""
    good = records.write(record(), tmp_path)
    lines = [canonical_json(seal(made)) for made in (good.document(), good.document() | odd)]
    (tmp_path / "records.jsonl").write_text("\n".join(lines) + "\n")
    archive = Archive(tmp_path)
    assert archive.records() == [good]
    (problem,) = archive.problems
    assert f"{tmp_path / 'records.jsonl'}, line 2 lacks a part, or has one of another type: " in problem
    assert "\n" not in problem and "this line is left out" in problem


def test_an_edited_score_is_named(tmp_path):
    records.write(record(accuracy=0.75), tmp_path)
    path = records.run_folder(tmp_path, A) / "record.json"
    path.write_text(path.read_text().replace("0.75", "0.85"))
    with pytest.raises(Damaged, match="was changed after it was written: its checksum does not fit") as error:
        records.read_file(path)
    assert str(path) in one_line(error)
    assert records.authoritative_record(tmp_path, A) is None
    assert Archive(tmp_path).record(A) is None


def test_other_white_space_and_another_order_are_the_same_record(tmp_path):
    written = records.write(record(), tmp_path)
    path = records.run_folder(tmp_path, A) / "record.json"
    path.write_text(json.dumps(dict(reversed(json.loads(path.read_text()).items()))))
    assert records.read_file(path) == written


def test_a_copy_of_a_folder_is_not_another_run(tmp_path):
    written = records.write(record(), tmp_path)
    shutil.copytree(records.run_folder(tmp_path, A), records.run_folder(tmp_path, B))
    assert records.authoritative_record(tmp_path, B) is None
    archive = Archive(tmp_path)
    assert archive.records() == [written]
    (problem,) = archive.problems
    assert f"is the record of run {A}" in problem and B in problem


def test_flipped_bits_of_a_record_are_never_read_as_another(tmp_path):
    """A bit of every byte: an error of one line, or the same content (a space that became another)."""
    written = records.write(record(lr=1.25e-05, betas=[0.9, 0.999], text="ä"), tmp_path)
    path = tmp_path / "flipped.json"
    whole = (records.run_folder(tmp_path, A) / "record.json").read_bytes()
    generator, refused = random.Random(0), 0
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << generator.randrange(8)
        path.write_bytes(flipped)
        try:
            assert records.read_file(path) == written
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 0.9 * len(whole)


def test_truncated_records_are_refused(tmp_path):
    records.write(record(), tmp_path)
    path = records.run_folder(tmp_path, A) / "record.json"
    whole = path.read_bytes()
    for length in range(0, len(whole.rstrip()), 5):
        path.write_bytes(whole[:length])
        with pytest.raises(Damaged):
            records.read_file(path)


# Files beside a record


def with_files(folder) -> dict:
    run = records.run_folder(folder, A)
    (run / "adapter").mkdir(parents=True)
    (run / "adapter" / "adapter_model.safetensors").write_bytes(random.Random(0).randbytes(300))
    (run / "adapter" / "adapter_config.json").write_text("{}")
    return write_with_predictions(folder, record(), [0.0, 1.0])


def test_flipped_bits_of_a_file_are_named(tmp_path):
    written = with_files(tmp_path)
    assert len(written.files) == 3
    run, cache = records.run_folder(tmp_path, A), FileCache(tmp_path / "cache", verify=True)
    records.check_files(written, run, cache)
    for name in written.files:
        whole = (run / name).read_bytes()
        for position in range(0, len(whole), -(-len(whole) // 30)):
            flipped = bytearray(whole)
            flipped[position] ^= 1
            (run / name).write_bytes(flipped)
            with pytest.raises(Damaged, match=f"{name} is not the file that run {A} wrote"):
                records.check_files(written, run, cache)
        (run / name).write_bytes(whole)
    records.check_files(written, run, cache)


def test_an_absent_file_is_no_damage(tmp_path):
    written = with_files(tmp_path)
    shutil.rmtree(records.run_folder(tmp_path, A) / "adapter")
    records.check_files(written, records.run_folder(tmp_path, A))
    assert records.authoritative_record(tmp_path, A) == written
    assert records.set_aside(records.run_folder(tmp_path, A)) is None


def test_what_is_damaged_is_set_aside_whole_and_not_read_any_more(tmp_path):
    with_files(tmp_path)
    run = records.run_folder(tmp_path, A)
    (run / "state").mkdir()  # of a training in progress: not a part of the record
    for number in (1, 2):
        (run / "adapter" / "adapter_model.safetensors").write_bytes(b"exchanged")
        output = records.set_aside(run)
        assert output.endswith(f"is not the file that run {A} wrote; it is kept as {A}.damaged{number}")
        aside = run.with_name(f"{A}.damaged{number}")
        assert sorted(os.listdir(aside)) == ["adapter", "predictions.parquet", "record.json"]
        assert os.listdir(run) == ["state"] and records.set_aside(run) is None
        assert Archive(tmp_path).records() == [] and Archive(tmp_path).problems == []
        for name in os.listdir(aside):
            (shutil.copytree if (aside / name).is_dir() else shutil.copy)(aside / name, run / name)


def test_what_was_never_run_is_not_damaged(tmp_path):
    assert records.set_aside(tmp_path / "runs" / A) is None
    assert records.authoritative_record(tmp_path, A) is None
    assert Archive(tmp_path / "absent").records() == [] and Archive(tmp_path / "absent").problems == []


# What is done


@pytest.mark.parametrize(
    ("made", "done", "given_up"),
    [
        (record(), True, False),
        (ended("diverged"), True, False),
        (ended("interrupted"), False, False),
        (ended("failed", attempts=2), False, False),
        (ended("failed", attempts=3), False, True),
        (ended("interrupted", attempts=3), False, False),
    ],
    ids=lambda value: value and not isinstance(value, bool) and f"{value.status} {value.attempts}",
)
def test_done_and_given_up(made, done, given_up):
    assert (made.is_done, made.is_given_up) == (done, given_up)
