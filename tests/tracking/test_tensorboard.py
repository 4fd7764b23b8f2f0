"""What is written for TensorBoard, read by TensorBoard's own reader; and a run that is the same whatever mirrors it."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from support.runs import DIGITS, folder_of
from support.wandb_file import items, records
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata, plugin_data_pb2

from surm_bench.config import Config
from surm_bench.config.composition import resolved
from surm_bench.records import Archive, Record
from surm_bench.run.loading import load_run
from surm_bench.tracking.tensorboard_tracker import TensorBoardTracker

SCORE = "score/vit_digits/digits/rows_64/eval_rows_32"


def config(folder: Path) -> Config:
    return resolved([*DIGITS, "adapter=lora", "optimizer.lr=0.005", "seed=3"]).having(results_dir=str(folder))


def read(folder):
    return EventAccumulator(str(folder)).Reload()


def points(folder, name):
    return {event.step: event.value for event in read(folder).Scalars(name)}


def settings(folder):
    """What the tab HPARAMS shows of a run's settings."""
    content = read(folder).summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    hparams = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in hparams.items()}


def test_a_writer_is_closed_though_a_point_was_refused(tmp_path, capsys):
    before = threading.active_count()
    tracker = TensorBoardTracker(config(tmp_path), "0123456789ab")
    tracker.log({"train/loss": 1.0}, 1)
    tracker.log({"train/loss": object()}, 2)
    tracker.close(0)
    assert threading.active_count() == before and capsys.readouterr().err.count("\n") == 1


def test_curves_settings_and_results_are_there(tmp_path):
    tracker = TensorBoardTracker(config(tmp_path), "0123456789ab")
    for step in (10, 20):
        tracker.log({"train/loss": 1 / step, SCORE: step / 100}, step)
    tracker.summary({"lora/ratio": None, "parameters/adapter": 512, "last/step": 20, SCORE: 0.3})
    record = tmp_path / "record.json"
    record.write_text('{"run_id": "0123456789ab"}')
    tracker.link(record)
    tracker.close(0)
    (folder,) = (tmp_path / "tensorboard").iterdir()
    assert folder.name == "LoRA r=8 on digits vit_digits lr 0.005 seed 3 0123456789ab"
    assert points(folder, "train/loss") == pytest.approx({10: 0.1, 20: 0.05})
    assert points(folder, SCORE) == pytest.approx({10: 0.1, 20: 0.3})  # the last score again, for the table
    assert list(points(folder, "summary/parameters/adapter").values()) == [512]
    (text,) = read(folder).Tensors("record/text_summary")
    assert text.tensor_proto.string_val[0].decode().split("\n")[0] == str(record)
    assert '"run_id": "0123456789ab"' in text.tensor_proto.string_val[0].decode()
    assert "summary/lora/ratio" not in read(folder).Tags()["scalars"]
    assert settings(folder) == {
        **{"adapter": "LoRA r=8", "model": "vit_digits", "task": "digits", "optimizer": "adamw", "lr": 0.005},
        **{"seed": 3, "job": "train", "adapter_parameters": 512},
    }


def test_a_run_that_goes_on_from_a_saved_state_replaces_what_it_repeats(tmp_path):
    for steps in ((10, 20, 30), (20, 30, 40)):
        tracker = TensorBoardTracker(config(tmp_path), "run")
        for step in steps:
            tracker.log({"train/loss": step + steps[0]}, step)
        tracker.close(1 if steps[0] == 10 else 0)
    (folder,) = (tmp_path / "tensorboard").iterdir()
    assert points(folder, "train/loss") == {10: 20, 20: 40, 30: 50, 40: 60}
    assert len(read(folder).Scalars("train/loss")) == 4


def test_a_run_that_goes_on_with_an_evaluation_keeps_the_loss_of_this_step(tmp_path):
    for logged in ([(10, "train/loss"), (20, "train/loss")], [(20, SCORE), (30, "train/loss")]):
        tracker = TensorBoardTracker(config(tmp_path), "run")
        for step, name in logged:
            tracker.log({name: step}, step)
        tracker.close(1)
    (folder,) = (tmp_path / "tensorboard").iterdir()
    assert points(folder, "train/loss") == {10: 10, 20: 20, 30: 30} and points(folder, SCORE) == {20: 20}


def test_a_run_that_goes_on_after_its_last_step_has_its_score_there(tmp_path):
    for summary in (None, {"parameters/adapter": 512, "last/step": 20, SCORE: 0.3}):
        tracker = TensorBoardTracker(config(tmp_path), "run")
        if summary is None:
            tracker.log({"train/loss": 1.0}, 20)
        else:
            tracker.summary(summary)
        tracker.close(0)
    (folder,) = (tmp_path / "tensorboard").iterdir()
    assert points(folder, "train/loss") == {20: 1.0} and points(folder, SCORE) == pytest.approx({20: 0.3})


def test_what_cannot_be_written_costs_one_line(tmp_path, capsys):
    (tmp_path / "tensorboard").write_text("in the way")
    tracker = TensorBoardTracker(config(tmp_path), "run")
    for step in (10, 20):
        tracker.log({"train/loss": 1.0}, step)
    tracker.summary({"parameters/adapter": 512, "last/step": 20})
    tracker.link(tmp_path / "record.json")
    tracker.close(0)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "TensorBoard files of run run" in said


# In a process of its own: what other tests did to W&B's service in this one is none of its business. The file must be
# whole, however busy this machine is.
RUN = """
import sys
from pathlib import Path
from support.runs import start
from surm_bench.tracking import wandb_tracker

wandb_tracker.SECONDS = 120
start(Path(sys.argv[1]), *sys.argv[2:])
"""


def started(folder: Path, *overrides: str) -> Record:
    """Return the record of a run, made in another process."""
    command = [sys.executable, "-c", RUN, str(folder), *overrides]
    environment = os.environ | {"WANDB_MODE": "offline"}
    subprocess.run(command, cwd=Path(__file__).parents[1], env=environment, check=True)
    (record,) = Archive(folder).records()
    return record


@pytest.mark.slow
def test_a_run_is_the_same_whatever_mirrors_it(tmp_path):
    run = [*DIGITS, "adapter=circulant", "trainer.max_steps=20", "trainer.save_adapter=true"]
    found = {kind: started(tmp_path / kind, *run, f"tracking={kind}") for kind in ("none", "tensorboard", "wandb")}
    plain = found["none"]
    for kind, record in found.items():
        for key in ("run_id", "scores", "history", "parameters", "change", "files"):  # files: digests of their content
            assert getattr(record, key) == getattr(plain, key), (kind, key)

    (events,) = (tmp_path / "tensorboard" / "tensorboard").iterdir()
    (file,) = (tmp_path / "wandb").rglob("*.wandb")
    sent = list(records(file))
    history = [items(record.history.item) for record in sent if record.WhichOneof("record_type") == "history"]
    assert {point["step"]: point[SCORE] for point in history if SCORE in point} == {
        point["step"]: point["scores"]["reported"]["accuracy"] for point in plain.history
    }
    names = {"train/loss", "train/lr", "train/grad_norm", "eval/reported/loss", "eval/reported/accuracy", SCORE}
    for name in names:
        wanted = {point["step"]: point[name] for point in history if name in point}
        assert wanted and points(events, name) == pytest.approx(wanted)

    summary = {}
    for record in sent:
        summary |= items(record.summary.update)
    assert summary["parameters/adapter"] == plain.parameters.adapter
    assert summary["last/step"] == plain.epochs["last"]["step"]
    assert summary["lora/ratio"] == plain.baseline.ratio
    assert summary["last/reported/accuracy"] == summary[SCORE] == plain.scores["reported"]["last"]["accuracy"]
    assert summary["best/reported/accuracy"] == plain.scores["reported"]["best"]["accuracy"]
    assert summary["best_" + SCORE] == summary["best/reported/accuracy"]
    assert summary["time/step_ms"] > 0 and summary["memory/peak_bytes"] > 0

    model, data, settings = load_run(folder_of(tmp_path / "none", plain))
    batch = data.collate([data.splits["reported"][i] for i in range(len(data.splits["reported"]))])
    labels = batch.pop("labels")
    with torch.no_grad():
        by_hand = -torch.log_softmax(model(**batch).double(), -1)[torch.arange(len(labels)), labels].mean()
    assert history[-1]["eval/reported/loss"] == pytest.approx(by_hand.item(), rel=1e-4)
    (about,) = [record.run for record in sent if record.WhichOneof("record_type") == "run"]
    assert about.job_type == "train" and about.display_name.startswith("Circulant on digits, vit_digits, lr ")
    defined = {record.metric.glob_name: record.metric.step_metric for record in sent if record.metric.glob_name}
    assert defined == {"train/*": "step", "eval/*": "step", "score/*": "step"}
    assert summary["record"] == str(folder_of(tmp_path / "wandb", found["wandb"]) / "record.json")
    assert json.loads(next(i.value_json for i in about.config.update if i.key == "experiment")) == "wandb"
