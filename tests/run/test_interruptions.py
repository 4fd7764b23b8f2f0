"""Runs that are stopped go on to equal bits, and of several processes on one run one trains."""

import json
import shutil
import signal

import pytest
from support import made_up
from support.runs import DIGITS, ENDLESS, GRAMMAR, begin, folder_of, said, start, stop, wait_for

from surm_bench import records
from surm_bench.run import train
from surm_bench.system.atomic import atomic
from surm_bench.training import Checkpoint, Diverged, Interrupted, state

LONG = ["trainer.max_steps=60", "trainer.epochs=100", "trainer.eval_steps=20", "trainer.save_seconds=0"]
DROPOUT = [*GRAMMAR, "adapter=lora", "adapter.peft.lora_dropout=0.2", *LONG]
ADALORA = [*DIGITS, "adapter=adalora", *LONG]


def results(folder) -> dict:
    (record,) = records.Archive(folder).records()
    return record


def stop_once(monkeypatch) -> None:
    """Let this process get SIGTERM once its next run has saved its state for the fifth time."""
    write, saved = Checkpoint.write, []

    def write_and_stop(*arguments):
        write(*arguments)
        saved.append(arguments)
        if len(saved) == 5:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(state, "PAUSE", 0)
    monkeypatch.setattr(Checkpoint, "write", write_and_stop)


def assert_goes_on(folder, whole, overrides):
    """The stopped run of a folder goes on to what the whole run has, to the bit."""
    resumed = start(folder, *overrides)
    assert resumed.run_id == whole.run_id and resumed.status == "success"
    assert resumed.files == whole.files
    assert resumed.scores == whole.scores and resumed.history == whole.history
    first, second = resumed.segments
    assert 0 == first["from_step"] < first["to_step"] == second["from_step"] < second["to_step"]
    assert second["to_step"] == whole.segments[-1]["to_step"]
    assert not (folder_of(folder, whole) / "state").exists()


def test_a_run_that_is_stopped_goes_on_to_equal_bits(tmp_path, monkeypatch):
    overrides = [*DROPOUT, "trainer.max_steps=12", "trainer.eval_steps=4"]
    whole = start(tmp_path / "whole", *overrides)
    folder = tmp_path / "stopped"
    stop_once(monkeypatch)
    with pytest.raises(Interrupted):
        start(folder, *overrides)
    assert (results(folder).status, results(folder).attempts) == ("interrupted", 0)
    assert_goes_on(folder, whole, overrides)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code", "overrides"),
    [
        (signal.SIGTERM, 143, DROPOUT),
        (signal.SIGINT, 130, ADALORA),
        (signal.SIGUSR1, 128 + signal.SIGUSR1, ADALORA),
        (signal.SIGKILL, -9, DROPOUT),
    ],
    ids=["SIGTERM", "SIGINT", "SIGUSR1", "SIGKILL"],
)
def test_the_same_command_goes_on_in_another_process(tmp_path, sent, code, overrides):
    whole = start(tmp_path / "whole", *overrides)
    folder = tmp_path / "stopped"
    process = begin(folder, *overrides)
    saved = folder_of(folder, whole) / "state" / "state.safetensors"
    wait_for(lambda: saved.exists() or not process.is_alive())
    stop(process, sent)
    assert process.exitcode == code and saved.exists()
    if sent != signal.SIGKILL:
        output = said(folder, process)
        assert f"interrupted ({sent.name} after a training step; its state is saved); give the same" in output
        assert (results(folder).status, results(folder).attempts) == ("interrupted", 0)
    assert_goes_on(folder, whole, overrides)


def test_a_state_of_another_kind_is_not_continued(tmp_path, monkeypatch):
    """With a cached prefix what is trained has other names: the run starts anew, and comes to the same scores."""
    overrides = [*DIGITS, "adapter=linear_probe", *LONG]
    stop_once(monkeypatch)
    with pytest.raises(Interrupted):
        start(tmp_path, *overrides)
    record = start(tmp_path, *overrides, "trainer.cache_prefix=true")
    assert record.status == "success" and len(record.segments) == 1


def test_while_one_trains_another_is_refused(tmp_path):
    first = begin(tmp_path, *ENDLESS)
    wait_for(lambda: list(tmp_path.glob("runs/*/lock.json")))
    other = begin(tmp_path, *ENDLESS)
    other.join(120)
    assert other.exitcode == 2 and f"process {first.pid} on " in said(tmp_path, other)
    assert first.is_alive()
    stop(first)
    assert first.exitcode in (143, -15)  # -15: it had not yet begun to train


def test_a_run_that_another_took_over_stops_and_writes_nothing(tmp_path):
    """While it was suspended, say: its lock was old, and is another's now."""
    process = begin(tmp_path, *ENDLESS, "trainer.save_seconds=0.1")
    wait_for(lambda: list(tmp_path.glob("runs/*/state/state.safetensors")) or not process.is_alive())
    (lock,) = tmp_path.glob("runs/*/lock.json")
    other = {"host": "another", "pid": process.pid, "born": 0.0, "since": "now"}
    with atomic(lock) as temporary:
        temporary.write_text(json.dumps(other))
    process.join(60)
    line = said(tmp_path, process).splitlines()[-1]
    assert process.exitcode == 2 and f"process {process.pid} on another took over run " in line
    assert json.loads(lock.read_text()) == other
    assert records.Archive(tmp_path).is_empty and not list(tmp_path.glob("runs/*/adapter"))


def test_a_run_whose_folder_is_removed_stops_and_does_not_make_it_again(tmp_path):
    folder = tmp_path / "results"
    process = begin(folder, *ENDLESS, "trainer.save_seconds=0.1")
    wait_for(lambda: list(folder.glob("runs/*/state/state.safetensors")) or not process.is_alive())
    output = folder / f"{process.pid}.txt"
    kept = output.rename(tmp_path / output.name)
    shutil.rmtree(folder)
    process.join(60)
    line = kept.read_text().splitlines()[-1]
    assert process.exitcode == 2 and f"surm-bench: {folder}/runs/" in line and "no longer exists" in line
    assert not folder.exists()


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("ended", ["success", "diverged", "failed", "interrupted"])
def test_whatever_comes_of_a_run_that_another_took_over_is_not_written(tmp_path, monkeypatch, ended, finished):
    """Taken over after the last time of saving, and perhaps finished by now, its state removed while it was written."""
    theirs = []
    raised = {
        "diverged": Diverged("the loss", 3, float("nan")),
        "failed": FileNotFoundError(),
        "interrupted": KeyboardInterrupt(),
    }
    fit = train.fit

    def lose_and_end(*arguments, **given):
        (lock,) = tmp_path.glob("runs/*/lock.json")
        lock.write_text(json.dumps({"host": "another", "pid": 1, "born": 0.0, "since": "now"}))
        if finished:
            theirs.append(records.write(made_up.record(lock.parent.name), tmp_path))
            lock.unlink()
        if ended in raised:
            raise raised[ended]
        return fit(*arguments, **given)

    monkeypatch.setattr(train, "fit", lose_and_end)
    with pytest.raises(KeyboardInterrupt if ended == "interrupted" else records.Lost):
        start(tmp_path, *DIGITS, "adapter=lora")
    assert records.Archive(tmp_path).records() == theirs
    assert not list(tmp_path.glob("runs/*/adapter")) and not list(tmp_path.glob("runs/*/predictions.parquet"))


@pytest.mark.slow
def test_of_four_at_once_one_trains(tmp_path):
    processes = [begin(tmp_path, *DIGITS, "adapter=lora") for _ in range(4)]
    for process in processes:
        process.join(120)
    output = [said(tmp_path, process) for process in processes]
    trained = [text for text in output if "LoRA r=8 on digits" in text and "already done" not in text]
    assert len(trained) == 1, output
    for process, text in zip(processes, output, strict=True):
        refused = "has been training run" in text
        assert process.exitcode == (2 if refused else 0)
        assert refused or "LoRA r=8 on digits" in text
    record = results(tmp_path)
    assert record.status == "success" and record.attempts == 1
