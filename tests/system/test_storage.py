"""A disk that is too small, full or gone ends a sweep in one line; what was recorded is whole, and the rest goes on."""

import errno
import shutil
import time
from types import SimpleNamespace

import pytest
from safetensors import SafetensorError
from support.made_records import CHOICES, tiny_experiment, without_training
from support.runs import DIGITS, folder_of, start

from surm_bench import records
from surm_bench.command.errors import exit_code
from surm_bench.command.main import command
from surm_bench.experiment import running
from surm_bench.experiment.jobs import reported_jobs
from surm_bench.experiment.launching import Queued
from surm_bench.experiment.running import run_jobs
from surm_bench.run import runner, train
from surm_bench.system import atomic, storage
from surm_bench.system.storage import StorageError, check_space, storage_errors
from surm_bench.training import Checkpoint, state

LORA = [*DIGITS, "adapter=lora"]
FULL = "No space left on device"


def full(*_, **__):
    raise OSError(errno.ENOSPC, FULL)


def full_in_rust(*_, **__):
    raise SafetensorError(f"Error while serializing: I/O error: {FULL} (os error {errno.ENOSPC})")


# What is an error of the disk


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, FULL), f"is full .*{FULL}"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "is full .*quota"),
        (SafetensorError(f"I/O error: {FULL} (os error {errno.ENOSPC})\nmore"), f"is full .*{FULL}"),
        (OSError(errno.ESTALE, "Stale file handle"), "no longer exists .*Stale"),
        (OSError(errno.EROFS, "Read-only file system"), "no longer exists .*Read-only"),
        (OSError(errno.EIO, "Input/output error"), "no longer exists .*Input"),
    ],
)
def test_errors_of_the_disk_are_one_line(tmp_path, error, says):
    with pytest.raises(StorageError, match=says) as raised, storage_errors(tmp_path):
        raise error
    assert str(tmp_path) in str(raised.value) and "\n" not in str(raised.value)
    assert str(raised.value).endswith("then give the same command again to continue")


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError(errno.ENOENT, "x"), PermissionError(errno.EACCES, "x"), ValueError("28"), SafetensorError("x")],
)
def test_other_errors_pass(tmp_path, error):
    with pytest.raises(type(error)) as raised, storage_errors(tmp_path):
        raise error
    assert raised.value is error


def test_a_missing_file_is_of_the_disk_where_the_folder_is_missing_too(tmp_path):
    with pytest.raises(StorageError, match="no longer exists"), storage_errors(tmp_path / "gone"):
        (tmp_path / "gone" / "file").read_bytes()


# Before training


def test_too_little_space_is_found_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: SimpleNamespace(free=3_000_000))
    check_space(tmp_path, 3_000_000, "run a")
    with pytest.raises(StorageError, match=r"run a needs 3\.1 MB in .*, but only 3\.0 MB are free: free space"):
        check_space(tmp_path, 3_100_000, "run a")


@pytest.mark.parametrize(
    "overrides",
    [
        LORA,
        [*DIGITS, "adapter=full"],
        [*DIGITS, "adapter=adalora", "adapter.peft.init_r=96"],
        pytest.param([*DIGITS, "adapter=lora2"], marks=pytest.mark.slow),
        pytest.param([*DIGITS, "adapter=vera"], marks=pytest.mark.slow),
        pytest.param([*DIGITS, "adapter=linear_probe"], marks=pytest.mark.slow),
        [*LORA, "optimizer=loko"],
        pytest.param([*LORA, "task.validation=holdout"], marks=pytest.mark.slow),
    ],
    ids=lambda overrides: ", ".join(overrides[2:]),
)
def test_the_need_of_a_run_covers_what_it_wrote(tmp_path, monkeypatch, overrides):
    """Against the files: two states, the adapter, the predictions and the record; and at most 2.5 times as much."""
    needs = []
    monkeypatch.setattr(train, "check_space", lambda folder, needed, what: needs.append(needed))
    monkeypatch.setattr(Checkpoint, "clear", lambda self: None)
    monkeypatch.setattr(state, "PAUSE", 0)
    monkeypatch.setattr(train, "MARGIN", 2**18)  # beside 2 MiB the tensors of a small model would not count
    record = start(tmp_path, *overrides, "trainer.save_seconds=0")
    sizes = {path.name: path.stat().st_size for path in folder_of(tmp_path, record).rglob("*") if path.is_file()}
    written = sum(sizes.values()) + sizes["state.safetensors"]
    assert written <= needs[0] <= 2.5 * written + train.MARGIN


def test_a_run_that_has_too_little_space_does_not_train_and_is_no_failure(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(storage.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
        patched.setattr(train, "fit", lambda *_, **__: pytest.fail("trained"))
        with pytest.raises(StorageError, match=r"run [0-9a-f]{12} needs .* MB in .*, but only 1\.0 MB are free"):
            start(tmp_path, *LORA)
    assert records.Archive(tmp_path).is_empty
    assert start(tmp_path, *LORA).attempts == 1


# In the middle


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """A folder with one run, and its record."""
    folder = tmp_path_factory.mktemp("earlier")
    return folder, start(folder, *LORA, seed=1)


@pytest.mark.parametrize(
    ("where", "name", "fails"),
    [
        (state, "save_file", full_in_rust),
        (train.PeftModel, "save_pretrained", full_in_rust),
        (train.pd.DataFrame, "to_parquet", full),
        (records.store, "atomic", full),
        (atomic.os, "fsync", full),
    ],
    ids=["state", "adapter", "predictions", "record", "any file"],
)
def test_a_disk_that_is_full_while_a_run_writes(earlier, tmp_path, monkeypatch, where, name, fails):
    folder, earlier = earlier
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    with monkeypatch.context() as patched:
        patched.setattr(state, "PAUSE", 0)
        patched.setattr(where, name, fails)
        with pytest.raises(StorageError, match=f"the disk of {tmp_path} is full .*{FULL}"):
            start(tmp_path, *LORA, "trainer.save_seconds=0")
    archive = records.Archive(tmp_path)
    assert archive.records() == [earlier] and archive.problems == []
    records.check_files(earlier, folder_of(tmp_path, earlier))
    record = start(tmp_path, *LORA, "trainer.save_seconds=0")
    assert (record.status, record.attempts) == ("success", 1)
    assert not list(tmp_path.glob("runs/*/lock.json"))


# A sweep

HOW = [{}, {"launcher": "joblib", "options": ["n_jobs=1"]}]


@pytest.fixture
def jobs():
    """Four runs, two of each adapter."""
    return reported_jobs(tiny_experiment(), CHOICES)


def full_from(number: int, tried: list):
    """What a run scores, until this one finds the disk full."""

    def surface(config: dict) -> float:
        tried.append(config.seed)
        if len(tried) >= number:
            full()
        return 0.5

    return surface


@pytest.mark.parametrize("how", HOW, ids=str)
def test_a_full_disk_ends_a_sweep_and_the_same_command_goes_on(tmp_path, monkeypatch, jobs, how):
    def sweep() -> list[str]:
        return run_jobs(jobs, tmp_path, "tiny", **how)

    tried: list = []
    with monkeypatch.context() as patched:
        without_training(patched, full_from(2, tried))
        with pytest.raises(StorageError, match="is full"):
            sweep()
    assert len(tried) == 2
    archive = records.Archive(tmp_path)
    assert [record.status for record in archive.records()] == ["success"] and archive.problems == []
    trained = without_training(monkeypatch, lambda config: 0.5)
    assert sweep() == [] and len(trained) == 3
    assert len(records.Archive(tmp_path).results()) == 4


@pytest.mark.parametrize("how", HOW, ids=str)
def test_a_folder_that_is_lost_between_two_runs_ends_a_sweep(tmp_path, monkeypatch, jobs, how):
    folder = tmp_path / "results"

    trained = without_training(monkeypatch, lambda config: 0.5)
    run = runner.run

    def run_and_lose(*arguments, **given):
        run(*arguments, **given)
        shutil.rmtree(folder)

    monkeypatch.setattr(runner, "run", run_and_lose)
    with pytest.raises(StorageError, match="no longer exists"):
        run_jobs(jobs, folder, "tiny", **how)
    assert len(trained) == 1 and not folder.exists()


def test_a_full_disk_that_one_process_finds_ends_the_others(tmp_path, monkeypatch, jobs):
    """In processes of joblib's: the second run finds it, while the first one would go on for ten minutes."""

    def work(cfg, *_):
        if cfg.seed == 1:
            raise StorageError("the disk is full")
        time.sleep(600)

    monkeypatch.setattr(running, "run_one", work)
    began = time.monotonic()
    with pytest.raises(StorageError, match="the disk is full"):
        run_jobs(jobs, tmp_path, "tiny", launcher="joblib", options=["n_jobs=2"])
    assert time.monotonic() - began < 300


def test_a_job_of_a_cluster_returns_it_as_its_line():
    def fails(*_):
        raise StorageError("the disk is full")

    assert Queued(fails)(None, "", []) == "the disk is full"


def test_a_full_disk_ends_a_sweep_of_hydras(tmp_path, monkeypatch, capsys):
    tried: list = []
    without_training(monkeypatch, full_from(2, tried))
    sweep = ["run", "-m", *LORA, "seed=0,1,2,3", f"results_dir={tmp_path}"]
    assert exit_code(command, sweep) == 2 and tried == [0, 1]
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("surm-bench: ")]
    assert len(lines) == 1 and "is full" in lines[0]


def test_a_command_that_only_writes_tables_says_it_in_one_line(capsys):
    assert exit_code(full, []) == 2
    assert (
        capsys.readouterr().err
        == f"surm-bench: [Errno 28] {FULL}: free space, then give the same command again to continue\n"
    )
