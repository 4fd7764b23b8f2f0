"""What comes of a run: done once, repeated where it is damaged, tried again where it failed, and given up."""

import shutil

import pytest
from safetensors.torch import load_file, save_file
from support.made_up import committed
from support.runs import DIGITS, folder_of, start

from surm_bench import records
from surm_bench.errors import UserError
from surm_bench.run import train
from surm_bench.run.loading import load_run
from surm_bench.training import state
from surm_bench.training.loop import Training

LORA = [*DIGITS, "adapter=lora"]
ADAPTER = "adapter/adapter_model.safetensors"


def never(*_, **__):
    pytest.fail("trained")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A results folder with one run, not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, start(folder, *LORA)


@pytest.fixture
def copied(finished, tmp_path):
    """The same, to be changed: the folder and the record."""
    folder, record = finished
    return shutil.copytree(folder, tmp_path / "results"), record


def test_a_finished_run_is_not_repeated_unless_asked_to(copied, monkeypatch):
    folder, record = copied
    output = []
    with monkeypatch.context() as patched:
        patched.setattr(train, "fit", never)
        assert start(folder, *LORA, report=output.append) == record
    assert "already done; give rerun=true to repeat it" in output[0] and "\n" not in output[0]
    again = start(folder, *LORA, rerun=True)
    assert again.files == record.files and again.timing != record.timing


def test_a_collected_run_is_not_repeated_either(copied, monkeypatch):
    folder, record = copied
    record = records.write(committed(record), folder)
    records.collect(folder)
    shutil.rmtree(folder / "runs")
    monkeypatch.setattr(train, "fit", never)
    assert start(folder, *LORA) == record


def test_results_that_do_not_agree_are_refused_in_one_line(copied, monkeypatch):
    folder, record = copied
    record = records.write(committed(record), folder)
    records.collect(folder)
    other = {split: {"last": {"accuracy": 0.0}, "best": {"accuracy": 0.0}} for split in record.scores}
    records.write(record.having(scores=other, created="2099"), folder)
    with monkeypatch.context() as patched:
        patched.setattr(train, "fit", never)
        with pytest.raises(UserError, match="so none is used: .*; give rerun=true to make the run again") as error:
            start(folder, *LORA)
    assert "\n" not in str(error.value)
    assert start(folder, *LORA, rerun=True).files == record.files
    assert records.Archive(folder).problems == []


# Damage


def test_a_run_with_an_edited_score_is_set_aside_and_made_again(copied, caplog):
    folder, record = copied
    run = folder_of(folder, record)
    score = str(record.scores["reported"]["last"]["accuracy"])
    edited = (run / "record.json").read_text().replace(score, "0.999")
    (run / "record.json").write_text(edited)
    assert start(folder, *LORA).files == record.files
    aside = run.with_name(f"{run.name}.damaged1")
    assert (aside / "record.json").read_text() == edited and (aside / "adapter").is_dir()
    assert "its checksum does not fit; it is kept as" in caplog.text and aside.name in caplog.text


def test_a_run_with_an_exchanged_adapter_is_set_aside_and_made_again(copied, caplog):
    folder, record = copied
    run = folder_of(folder, record)
    tensors = load_file(run / ADAPTER)
    save_file({name: tensor + 1e-3 for name, tensor in tensors.items()}, run / ADAPTER)
    with pytest.raises(UserError, match=f"{ADAPTER} is not the file that run {record.run_id} wrote"):
        load_run(run)
    assert start(folder, *LORA).files == record.files
    assert f"{ADAPTER} is not the file" in caplog.text
    load_run(run)


@pytest.mark.parametrize("part", [0.001, 0.3, 0.9])
def test_a_flipped_bit_of_an_adapter_is_told_in_one_line(copied, part):
    folder, record = copied
    path = folder_of(folder, record) / ADAPTER
    content = bytearray(path.read_bytes())
    content[int(part * len(content))] ^= 16
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not the file that run .* wrote") as error:
        load_run(path.parent.parent)
    assert "\n" not in str(error.value)


def test_an_absent_adapter_is_no_damage_and_loading_says_how_to_get_it(copied, monkeypatch):
    folder, record = copied
    shutil.rmtree(folder_of(folder, record) / "adapter")
    monkeypatch.setattr(train, "fit", never)
    assert start(folder, *LORA) == record
    with pytest.raises(UserError, match="the adapter of run .* is not in .*: run it again with rerun=true"):
        load_run(folder_of(folder, record))


# Failures


def broken(error):
    def fit(*_, **__):
        raise error

    return fit


def test_a_run_that_fails_is_tried_again_and_given_up_after_three_times(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "fit", broken(RuntimeError("out of memory\nat 0x0")))
    for attempt in (1, 2, 3):
        with pytest.raises(RuntimeError):
            start(tmp_path, *LORA)
        (record,) = records.Archive(tmp_path).records()
        assert (record.status, record.attempts) == ("failed", attempt)
        assert record.error == "RuntimeError: out of memory"
    monkeypatch.undo()
    with pytest.raises(UserError) as error:
        start(tmp_path, *LORA)
    assert "failed 3 times; the last error is: RuntimeError: out of memory; give rerun=true" in str(error.value)
    assert start(tmp_path, *LORA, rerun=True).status == "success"


def test_a_failure_that_passes_is_forgotten(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(train, "fit", broken(RuntimeError("a bad moment")))
        with pytest.raises(RuntimeError):
            start(tmp_path, *LORA)
    record = start(tmp_path, *LORA)
    assert (record.status, record.attempts) == ("success", 2)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("no such folder")])
def test_interruptions_and_bad_input_are_no_attempts(tmp_path, monkeypatch, error):
    monkeypatch.setattr(train, "fit", broken(error))
    for _ in range(4):
        with pytest.raises(type(error)):
            start(tmp_path, *LORA)
    (record,) = records.Archive(tmp_path).records()
    assert record.attempts == 0
    assert record.status == ("failed" if isinstance(error, UserError) else "interrupted")


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_rerun_that_breaks_off_does_not_undo_a_result(copied, monkeypatch, error):
    folder, record = copied
    monkeypatch.setattr(train, "fit", broken(error))
    with pytest.raises(error):
        start(folder, *LORA, rerun=True)
    assert records.authoritative_record(folder, record.run_id) == record


def test_a_run_that_diverges_is_done(tmp_path, monkeypatch):
    diverging = [*LORA, "optimizer.lr=1e30", "optimizer.warmup_ratio=0"]
    output = []
    record = start(tmp_path, *diverging, report=output.append)
    assert record.status == "diverged" and record.is_done
    assert "is nan at step" in record.error and record.scores == {} and "scores" not in record.document()
    assert "diverged, " in output[0] and "\n" not in output[0]
    monkeypatch.setattr(train, "fit", never)
    assert start(tmp_path, *diverging) == record
    with pytest.raises(UserError, match="has status 'diverged': only a finished run can be loaded"):
        load_run(folder_of(tmp_path, record))


def test_a_diverged_run_is_repeated_from_its_beginning(tmp_path, monkeypatch):
    """Its state may hold numbers that are not finite, such as a broken memory made."""
    monkeypatch.setattr(state, "PAUSE", 0)
    step = Training.train_step

    def broken(self, batch):
        step(self, batch)
        if self.step == 2:
            next(iter(self.trained.values())).data.fill_(float("nan"))

    with monkeypatch.context() as patched:
        patched.setattr(Training, "train_step", broken)
        record = start(tmp_path, *LORA, "trainer.save_seconds=0")
    assert record.status == "diverged" and not (folder_of(tmp_path, record) / train.STATE).exists()
    again = start(tmp_path, *LORA, "trainer.save_seconds=0", rerun=True)
    assert (again.status, again.run_id) == ("success", record.run_id)


def test_a_run_repeated_without_its_adapter_does_not_keep_the_earlier_one(copied):
    folder, record = copied
    assert ADAPTER in record.files
    again = start(folder, *LORA, "trainer.save_adapter=false", rerun=True)
    assert again.run_id == record.run_id
    assert ADAPTER not in again.files and not (folder_of(folder, again) / ADAPTER).exists()
