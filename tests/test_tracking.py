import sys
import types

import pytest
from omegaconf import OmegaConf

from surm_bench.config import TrackingConfig, config_dir
from surm_bench.errors import UserError
from surm_bench.tracking import track

TAGS = ["vit_digits", "digits", "circulant"]


@pytest.fixture(autouse=True)
def no_key(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_SILENT", "true")


@pytest.fixture
def stub(monkeypatch):
    """A wandb module that notes what it is told."""

    class Run:
        def __init__(self, **arguments):
            self.arguments, self.history, self.summary, self.exit_code = arguments, [], {}, None
            runs.append(self)

        def log(self, values, step):
            self.history.append((step, values))

        def finish(self, exit_code):
            self.exit_code = exit_code

    runs = []
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=Run, Error=RuntimeError))
    return runs


def config(folder, kind="wandb"):
    return {"tracking": {"kind": kind, "project": "surm-bench", "entity": None}, "results_dir": str(folder), "seed": 3}


@pytest.mark.parametrize("kind", ["none", "wandb"])
def test_the_config_group_fits_its_schema(kind):
    loaded = OmegaConf.load(config_dir() / "tracking" / f"{kind}.yaml")
    assert OmegaConf.merge(OmegaConf.structured(TrackingConfig), loaded).kind == kind


def test_none_writes_nothing(tmp_path, stub):
    with track(config(tmp_path, "none"), "run", "group", TAGS) as tracker:
        tracker.log({"loss": 1.0}, step=1)
        tracker.summary({"score": 1.0})
    assert not stub and not list(tmp_path.iterdir())


def test_unknown_kind(tmp_path):
    says = "unknown tracking kind 'tensorboard': choose from none, wandb"
    with pytest.raises(UserError, match=says), track(config(tmp_path, "tensorboard"), "run", "group", TAGS):
        pass


def test_wandb_is_told_who_and_what(tmp_path, stub):
    with track(config(tmp_path / "new"), "run", "group", TAGS) as tracker:
        tracker.log({"loss": 1.5}, step=10)
        tracker.summary({"parameters/adapter": 36864})
    (run,) = stub
    expected = {
        "project": "surm-bench",
        "entity": None,
        "id": "run",
        "group": "group",
        "name": "vit_digits-digits-circulant-seed3",
        "tags": TAGS,
        "config": config(tmp_path / "new"),
        "dir": str(tmp_path / "new"),
        "mode": "offline",
    }
    assert run.arguments == expected
    assert run.history == [(10, {"loss": 1.5})]
    assert run.summary == {"parameters/adapter": 36864}
    assert run.exit_code == 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_run_is_finished_with_exit_code_1(tmp_path, stub, error):
    with pytest.raises(error), track(config(tmp_path), "run", "group", TAGS):
        raise error
    assert stub[0].exit_code == 1


@pytest.mark.parametrize("where", ["WANDB_API_KEY", "WANDB_MODE", "netrc"])
def test_a_key_or_the_mode_variable_leaves_the_mode_to_wandb(tmp_path, stub, monkeypatch, where):
    if where == "netrc":
        (tmp_path / "netrc").write_text("machine api.wandb.ai login user password none\n")
        (tmp_path / "netrc").chmod(0o600)
    else:
        monkeypatch.setenv(where, "x")
    with track(config(tmp_path), "run", "group", TAGS):
        pass
    assert stub[0].arguments["mode"] is None


def test_a_refusal_is_one_line(tmp_path, stub, monkeypatch):
    def refuse(**_):
        raise RuntimeError("permission denied\nlong story")

    monkeypatch.setattr(sys.modules["wandb"], "init", refuse)
    with pytest.raises(UserError, match="permission denied") as error, track(config(tmp_path), "run", "group", TAGS):
        pass
    assert "\n" not in str(error.value)


def test_without_wandb_the_error_names_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="tracking=none"), track(config(tmp_path), "run", "group", TAGS):
        pass


def test_two_real_offline_runs_in_one_process_stay_apart(tmp_path):
    wandb = pytest.importorskip("wandb")
    losses = {"aaaaaaaaaaaa": (0.123456789, 0.234567891), "bbbbbbbbbbbb": (0.345678912, 0.456789123)}
    for run_id, values in losses.items():
        with track(config(tmp_path), run_id, "group", TAGS) as tracker:
            for step, loss in enumerate(values, start=1):
                tracker.log({"loss": loss}, step=step)
            tracker.summary({"score": 0.9})
    wandb.teardown()  # its service flushes in the background
    for run_id, values in losses.items():
        (file,) = (tmp_path / "wandb").glob(f"offline-run-*-{run_id}/run-{run_id}.wandb")
        content = file.read_bytes()  # a log of protobuf messages, numbers as JSON text
        for value in (number for pair in losses.values() for number in pair):
            assert (str(value).encode() in content) == (value in values)
