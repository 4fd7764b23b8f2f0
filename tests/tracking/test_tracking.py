import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import types

import pytest
from omegaconf import OmegaConf
from support.wandb_file import items, records
from support.wandb_server import Server

from surm_bench.config import TrackingConfig
from surm_bench.config.composition import resolved
from surm_bench.errors import UserError
from surm_bench.system.installation import config_dir
from surm_bench.tracking import check_tracking, track, wandb_tracker
from surm_bench.tracking.contents import score_name

LOSSES = [0.123456789 + step for step in range(30)]

RUN_OF = ["model=vit_digits", "task=digits", "adapter=circulant", "tracking=wandb", "optimizer.lr=0.005", "seed=3"]

# A run of 1 s: its record is written inside the block. argv: folder, seconds that W&B may cost, what happens, config.
RUN = """
import json, os, signal, sys, time, psutil
from pathlib import Path
from surm_bench.config import Config
from surm_bench.tracking import track, wandb_tracker

folder, seconds, event = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
wandb_tracker.SECONDS = seconds
config = Config.of_document(json.loads(sys.argv[4])).having(results_dir=str(folder))
with track(config, "run", "group") as tracker:
    for step in range(30):
        tracker.log({"loss": 0.123456789 + step}, step=step)
        time.sleep(0.03)
        if event.startswith("stuck service") and step == 10:
            (service,) = [c for c in psutil.Process().children() if c.name() == "wandb-core"]
            service.suspend()
    tracker.summary({"score": 0.987654321})
    (folder / "record.json").write_text("{}")
    (folder / "ended").write_text(str(time.time()))
    if event == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
if event == "stuck service, another run":
    with track(config, "next", "group") as tracker:
        tracker.log({"loss": 1.0}, step=1)
"""


@pytest.fixture(autouse=True)
def no_key(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb_settings"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # whatever asks a server asks this machine


@pytest.fixture
def stub(monkeypatch):
    """A wandb module that notes what it gets."""

    class Run:
        def __init__(self, **arguments):
            self.arguments, self.history, self.summary, self.exit_code = arguments, [], {}, None
            self.metrics = {}
            self.settings = types.SimpleNamespace(sync_dir="folder")
            runs.append(self)

        def define_metric(self, name, **about):
            self.metrics[name] = about

        def log(self, values, step):
            self.history.append((step, values))

        def finish(self, exit_code):
            self.exit_code = exit_code

    runs = []
    setup = types.SimpleNamespace(settings=types.SimpleNamespace(mode="offline"))
    public = {"init": Run, "setup": lambda: setup, "teardown": lambda: None}
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(**public, runs=runs, Run=Run))
    return sys.modules["wandb"]


def config(folder, kind="wandb"):
    return resolved(RUN_OF).having(tracking={"kind": kind}, results_dir=str(folder))


@pytest.mark.parametrize("kind", ["none", "tensorboard", "wandb"])
def test_the_config_group_fits_its_schema(kind):
    loaded = OmegaConf.load(config_dir() / "tracking" / f"{kind}.yaml")
    assert OmegaConf.merge(OmegaConf.structured(TrackingConfig), loaded).kind == kind


@pytest.mark.parametrize("kind, mode", [("none", "online"), ("wandb", "disabled")])
def test_none_and_disabled_write_nothing(tmp_path, stub, monkeypatch, kind, mode):
    monkeypatch.setenv("WANDB_MODE", mode)
    with track(config(tmp_path, kind), "run", "group") as tracker:
        tracker.log({"loss": 1.0}, step=1)
        tracker.summary({"score": 1.0})
    assert not stub.runs and not list(tmp_path.iterdir())


def test_scores_on_other_test_rows_have_another_name(tmp_path):
    fewer = resolved([*RUN_OF, "task.fraction=0.5", "task.max_eval_samples=500"])
    assert score_name(config(tmp_path)) == "score/vit_digits/digits"
    assert score_name(fewer) == "score/vit_digits/digits/fraction_0.5/eval_rows_500"


def test_unknown_kind():
    with pytest.raises(UserError, match="unknown tracking.kind 'mlflow': choose from none, tensorboard, wandb"):
        TrackingConfig(kind="mlflow").check()


@pytest.mark.parametrize("kind", ["tensorboard", "wandb"])
def test_without_its_package_the_error_names_the_command(monkeypatch, kind):
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(UserError, match=rf"pip install 'surm-bench\[{kind}\]', or choose tracking=none"):
        check_tracking(TrackingConfig(kind=kind))


def test_wandb_is_told_who_and_what(tmp_path, stub):
    with track(config(tmp_path / "new"), "run", "group") as tracker:
        tracker.log({"loss": 1.5}, step=10)
        tracker.summary({"parameters/adapter": 36864})
    (run,) = stub.runs
    expected = {
        "project": "surm-bench",
        "entity": None,
        "id": "run",
        "group": "Circulant on digits, vit_digits, lr 0.005 (group)",
        "job_type": "train",
        "name": "Circulant on digits, vit_digits, lr 0.005, seed 3",
        "tags": ["vit_digits", "digits", "circulant", "new"],
        "config": config(tmp_path / "new").document() | {"experiment": "new"},
        "dir": str(tmp_path / "new"),
        "mode": "offline",
    }
    assert run.arguments.items() >= expected.items()
    assert run.metrics["eval/*"] == {"step_metric": "step"} and run.metrics["step"] == {"hidden": True}
    assert run.history == [(10, {"loss": 1.5, "step": 10})]
    assert run.summary == {"parameters/adapter": 36864}
    assert run.exit_code == 0


@pytest.mark.parametrize(
    "logged, kept",
    [
        ([(20, "train/loss"), (30, "train/loss")], [10]),  # from a state that was saved after step 10
        ([(20, "eval/reported/loss"), (30, "train/loss")], [10, 20]),  # and after step 20, before its evaluation
        ([(10, "train/loss")], []),  # from the start
        ([], [10, 20]),  # nothing is left to train
    ],
)
def test_a_run_that_goes_on_sends_what_it_does_not_repeat(tmp_path, stub, logged, kept):
    for of_process in ([(10, "train/loss"), (20, "train/loss")], logged):
        with track(config(tmp_path), "run", "group") as tracker:
            for step, name in of_process:
                tracker.log({name: step / 10}, step=step)
            tracker.summary({"parameters/adapter": 36864})
    earlier = [(step, {"train/loss": step / 10, "step": step}) for step in kept]
    assert stub.runs[1].history == [*earlier, *((step, {name: step / 10, "step": step}) for step, name in logged)]


def test_a_point_that_a_kill_cut_off_is_left_out(tmp_path, stub):
    for step in (10, 20, 30):
        with track(config(tmp_path), "run", "group") as tracker:
            tracker.log({"train/loss": 1.0}, step=step)
        if step == 20:
            file = tmp_path / "wandb" / "run.jsonl"
            file.write_text(file.read_text()[:-3])
    assert [step for step, _ in stub.runs[2].history] == [10, 30]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_passes_unchanged_and_the_run_is_finished_with_exit_code_1(tmp_path, stub, error):
    raised = error("the run's own")
    with pytest.raises(error) as caught, track(config(tmp_path), "run", "group"):
        raise raised
    assert caught.value is raised
    assert stub.runs[0].exit_code == 1


@pytest.mark.parametrize("where", ["init", "log", "finish"])
def test_what_wandb_raises_is_one_line(tmp_path, stub, monkeypatch, capsys, where):
    def refuse(*_, **__):
        raise RuntimeError("permission denied\nlong story")

    monkeypatch.setattr(stub if where == "init" else stub.Run, where, refuse)
    with track(config(tmp_path), "run", "group") as tracker:
        for step in range(3):
            tracker.log({"loss": 1.0}, step=step)
        tracker.summary({"score": 0.5})
    output = capsys.readouterr().err
    assert output.count("\n") == 1 and "permission denied" in output and "run run" in output
    if where == "log":  # a point that is refused does not cost the rest
        assert stub.runs[0].summary == {"score": 0.5} and stub.runs[0].exit_code == 0


@pytest.mark.parametrize("where", ["init", "log", "finish"])
def test_a_wandb_that_hangs_costs_its_seconds_once(tmp_path, stub, monkeypatch, capsys, where):
    awake = threading.Event()
    monkeypatch.setattr(stub if where == "init" else stub.Run, where, lambda *_, **__: awake.wait(60))
    monkeypatch.setattr(stub, "teardown", lambda: awake.wait(60))
    monkeypatch.setattr(wandb_tracker, "SECONDS", 1)
    began = time.monotonic()
    with track(config(tmp_path), "run", "group") as tracker:
        left = tracker._seconds_left
        tracker.log({"loss": 1.0}, step=1)
        tracker.summary({"score": 1.0})
        assert tracker._seconds_left == left  # neither waits
    assert tracker._seconds_left == 0 and 1 <= time.monotonic() - began < 30  # each wait takes of one second
    assert capsys.readouterr().err.count("\n") == 1
    awake.set()


def written(file, seconds=120):
    """The messages of a run's file, once the last one is there: the service may write it after the run has ended."""
    until = time.monotonic() + seconds
    while True:
        found = list(records(file))
        if any(record.HasField("exit") for record in found):
            return found
        assert time.monotonic() < until, f"{file} has no end after {seconds} s"
        time.sleep(0.05)


def test_two_real_offline_runs_in_one_process_stay_apart(tmp_path, monkeypatch, capfd):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(wandb_tracker, "SECONDS", 120)  # what is asked here is what it writes, not when
    losses = {"aaaaaaaaaaaa": (0.123456789, 0.234567891), "bbbbbbbbbbbb": (0.345678912, 0.456789123)}
    for run_id, values in losses.items():
        with track(config(tmp_path), run_id, "group") as tracker:
            for step, loss in enumerate(values, start=1):
                tracker.log({"loss": loss}, step=step)
            tracker.summary({"score": 0.9})
            record = tmp_path / "runs" / run_id / "record.json"
            record.parent.mkdir(parents=True)
            record.write_text(json.dumps({"run_id": run_id}))
            tracker.link(record)
    output = capfd.readouterr().err.splitlines()
    for run_id, values in losses.items():
        (file,) = (tmp_path / "wandb").glob(f"offline-run-*-{run_id}/run-{run_id}.wandb")
        found = written(file)
        assert [items(record.history.item)["loss"] for record in found if record.HasField("history")] == list(values)
        summary = [items(message.summary.update) for message in found if message.HasField("summary")]
        assert {name: value for update in summary for name, value in update.items()}["record"] == str(
            tmp_path / "runs" / run_id / "record.json"
        )
        assert json.loads((file.parent / "files" / "record.json").read_text()) == {"run_id": run_id}
        assert any(sent.path == "record.json" for message in found for sent in message.files.files)
        assert sum(f"wandb sync {file.parent}" in line for line in output) == 1
    assert len(output) == 2


@pytest.fixture
def server():
    with Server() as server:
        yield server
        server.shutdown()


@pytest.fixture
def online(monkeypatch):
    """Runs with a key, whose points are written and sent within a second instead of half a minute."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB__TRANSACTION_LOG_FLUSH_INTERVAL", "0.2")
    monkeypatch.setenv("WANDB__FILE_STREAM_TRANSMIT_INTERVAL", "0.2")


class Outcome:
    """One run in a process of its own: exit code, what it wrote, seconds from its end to the end of the process."""

    def __init__(self, folder, url, seconds=15, event="nothing"):
        command = [sys.executable, "-c", RUN, str(folder), str(seconds), event, json.dumps(resolved(RUN_OF).document())]
        done = subprocess.run(
            command, env=os.environ | {"WANDB_BASE_URL": url}, stderr=subprocess.PIPE, text=True, timeout=300
        )
        self.seconds = time.time() - float((folder / "ended").read_text())
        self.code, self.output = done.returncode, done.stderr
        (self.file,) = (folder / "wandb").glob("offline-run-*/run-run.wandb")
        print(f"{self.seconds:.2f} s after the end of the run; {self.output}")


def send_later(file, server):
    """The command that the run's one line names."""
    command = [sys.executable, "-m", "wandb", "sync", str(file.parent)]
    subprocess.run(command, env=os.environ | {"WANDB_BASE_URL": server.url}, check=True, timeout=300)


def test_a_server_that_answers_gets_the_whole_run(tmp_path, server, online):
    run = Outcome(tmp_path, server.url, seconds=120)
    assert (run.code, run.output) == (0, "")
    assert server.losses() == LOSSES
    assert server.summary["score"] == 0.987654321
    output = server.runs[0]
    assert (output["name"], output["jobType"]) == ("run", "train")
    assert output["displayName"] == "Circulant on digits, vit_digits, lr 0.005, seed 3"
    assert output["groupName"] == "Circulant on digits, vit_digits, lr 0.005 (group)"
    assert "circulant" in output["tags"] and json.loads(output["config"])["seed"]["value"] == 3


@pytest.mark.slow
def test_a_server_gets_points_while_the_run_goes_on(tmp_path, server, online):
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            RUN.replace("range(30)", "range(2000)"),
            str(tmp_path),
            "15",
            "nothing",
            json.dumps(resolved(RUN_OF).document()),
        ],
        env=os.environ | {"WANDB_BASE_URL": server.url},
    )
    until = time.monotonic() + 120
    while not server.history and time.monotonic() < until:
        time.sleep(0.1)
    assert process.poll() is None and server.losses()[0] == LOSSES[0]
    process.kill()
    process.wait()


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("absent", "dies")]


@pytest.fixture(params=["silent", *SLOW])
def away(request):
    """A server that refuses connections, one that takes them and never answers, one that dies in the middle."""
    if request.param == "dies":
        with Server(answers=2) as server:
            yield server.url
            assert server.runs and server.answers < 0
            server.shutdown()
        return
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "silent":
            listener.listen(64)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_server_that_is_away_costs_its_seconds_and_gets_the_run_later(tmp_path, away, server, online):
    run = Outcome(tmp_path, away, seconds=3)
    assert run.code == 0 and (tmp_path / "record.json").exists()
    assert run.seconds < 20  # wandb by itself: 29 s
    assert run.output.count("\n") == 1 and f"wandb sync {run.file.parent}" in run.output
    send_later(run.file, server)
    assert server.losses() == LOSSES
    assert server.summary["score"] == 0.987654321


def test_an_interrupted_run_ends_at_once_though_the_server_is_away(tmp_path, away, online):
    run = Outcome(tmp_path, away, event="interrupt")
    assert run.code == -signal.SIGINT and "KeyboardInterrupt" in run.output
    assert run.seconds < 14  # of the 15 that a run waits that comes to its end


@pytest.mark.slow
def test_a_stuck_wandb_service_does_not_hold_the_process(tmp_path, online):
    run = Outcome(tmp_path, "http://127.0.0.1:9", seconds=3, event="stuck service")
    assert run.code == 0 and run.seconds < 30  # wandb by itself: without limit
    assert "W&B did not receive all of run run" in run.output  # wandb adds a traceback of its exit hook


@pytest.mark.slow
def test_the_run_after_a_stuck_service_gets_a_new_one(tmp_path, online):
    run = Outcome(tmp_path, "http://127.0.0.1:9", seconds=3, event="stuck service, another run")
    assert run.code == 0
    (file,) = tmp_path.rglob("*-next.wandb")
    history = [items(record.history.item) for record in records(file) if record.WhichOneof("record_type") == "history"]
    assert [point["loss"] for point in history] == [1.0]


def test_an_upload_ends_soon_after_a_run_that_was_killed():
    code = "from surm_bench.tracking import send; send.SECONDS = 0; send._outlive_the_run()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.stdin.close()  # as the system does for a process that ends
    assert process.wait(120) == 1
