"""What lies in a run's folder is enough to use it, and says what the run was trained on and scored on."""

import json
import os
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.made_records import tiny_experiment
from support.runs import GRAMMAR, folder_of, start

from surm_bench.command.errors import exit_code
from surm_bench.command.main import command
from surm_bench.config import TaskConfig, composition
from surm_bench.config.composition import resolved
from surm_bench.errors import UserError
from surm_bench.experiment.jobs import pairs
from surm_bench.experiment.running import run_jobs
from surm_bench.metrics import METRICS, PAIRS
from surm_bench.models.weights import EMBEDDED
from surm_bench.run.loading import load_run
from surm_bench.tasks.sources import completed, local_files
from surm_bench.tasks.task_metrics import TaskMetrics
from surm_bench.tracking.contents import group_name, run_name, tags
from surm_bench.training import make_accelerator
from surm_bench.training.accelerator import check_fp32
from surm_bench.training.evaluation import forward

OWN = ["model=own", "task=grammar/sentiment", "adapter=circulant"]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A model of the user's: its files in a folder of configurations, other weights than the embedded ones."""
    monkeypatch.setattr(composition, "_added", [])
    composition._block.cache_clear()
    source, model = EMBEDDED / "roberta_tiny", tmp_path / "configs" / "model"
    weights = shutil.copytree(source, tmp_path / "weights")
    tensors = {name: tensor * 1.1 for name, tensor in load_file(source / "model.safetensors").items()}
    save_file(tensors, weights / "model.safetensors", {"format": "pt"})
    model.mkdir(parents=True)
    fields = json.loads((source / "config.json").read_text()) | {"layer_norm_eps": 1e-6}
    (model / "own.json").write_text(json.dumps(fields))
    (model / "own.yaml").write_text("name: own\nfamily: text\nsource: hub\ncheckpoint: somebody/own\n")
    composition.add_config_dir(tmp_path / "configs")
    yield weights
    composition._block.cache_clear()


def test_an_own_model_is_used_without_its_configurations(own, tmp_path, monkeypatch, capsys):
    record = start(tmp_path, *OWN, f"model.weights={own}")
    run = folder_of(tmp_path, record)
    before, data, _ = load_run(run)
    monkeypatch.setattr(composition, "_added", [])
    shutil.rmtree(tmp_path / "configs")
    (tmp_path / "in.csv").write_text("sentence\nthe dog sleeps .\n")
    assert before.config.layer_norm_eps == 1e-6 == record.config.model.architecture["layer_norm_eps"]
    assert exit_code(command, ["evaluate", str(run)]) == 0
    assert f"{record.scores['reported']['last']['accuracy']:.4f}  (record" in capsys.readouterr().out
    for ending, read in ((".csv", pd.read_csv), (".parquet", pd.read_parquet), (".jsonl", pd.read_json)):
        out = tmp_path / f"out{ending}"
        assert exit_code(command, ["predict", str(run), str(tmp_path / "in.csv"), "--out", str(out)]) == 0
        found = read(out, lines=True) if ending == ".jsonl" else read(out)
        assert list(found) == ["row", "prediction", "probability_0", "probability_1"] and len(found) == 1
    assert exit_code(command, ["predict", str(run), str(tmp_path / "in.csv"), "--out", str(tmp_path / "out.xlsx")]) == 2
    assert "name a file that ends in .csv, .jsonl, .parquet" in capsys.readouterr().err

    assert exit_code(command, ["export", str(run), str(tmp_path / "adapter"), "--adapter"]) == 0
    digest = record.config.model.digest
    fields = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    card = (tmp_path / "adapter" / "README.md").read_text()
    assert fields["base_model_name_or_path"] == f"own@{digest}"
    assert digest in card and "somebody/own'" not in card.partition("```python")[0] and "base_model:" not in card
    code = card.partition("```python\n")[2].partition("```")[0]
    made = run_code(code, own, tmp_path / "adapter")
    batch = {name: value for name, value in data.collate(data.splits["reported"][:8]).items() if name != "labels"}
    with torch.no_grad():
        assert torch.equal(forward(made["model"], batch), forward(before, batch))
    with pytest.raises(UserError, match="not have the declared model.digest"):  # the card's code checks the weights
        run_code(code, EMBEDDED / "roberta_tiny", tmp_path / "adapter")


def run_code(code: str, weights, folder) -> dict:
    made: dict = {}
    exec(re.sub(r'WEIGHTS = ".*', f"WEIGHTS = {str(weights)!r}", code).replace('"FOLDER"', repr(str(folder))), made)
    return made


def test_an_edited_architecture_is_another_run(own, tmp_path):
    first = start(tmp_path, *OWN, f"model.weights={own}", "trainer.max_steps=1")
    file = tmp_path / "configs" / "model" / "own.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"layer_norm_eps": 1e-3}))
    assert start(tmp_path, *OWN, f"model.weights={own}", "trainer.max_steps=1").run_id != first.run_id
    file.write_text("[]")
    with pytest.raises(UserError, match="own.json is not the config.json of a transformers model"):
        start(tmp_path, *OWN, f"model.weights={own}")


@pytest.mark.parametrize(
    ("asked", "there", "read"),
    [
        ("validation", "validation", "validation"),
        ("validation", "val", "val"),
        ("validation_matched", "validation", "validation"),
        ("test", "test", "test"),
        ("test", "validation", None),
        ("validation", "test", None),
        ("dev", "validation", None),
    ],
)
def test_no_other_split_is_scored(tmp_path, asked, there, read):
    (tmp_path / "mine").mkdir()
    for split in ("train", there):
        (tmp_path / "mine" / f"{split}.csv").write_text("sentence,label\na,0\n")
    config = TaskConfig(name="mine", kind="text", source="hub", eval_split=asked, data_dir=str(tmp_path))
    if read is None:
        with pytest.raises(UserError, match=rf"{asked}.parquet: .* has .*{there}.csv.*; name other splits with"):
            local_files(config)
    else:
        assert local_files(config)[1].stem == read and completed(config).eval_split == asked


def test_the_training_split_is_the_one_that_is_named(tmp_path):
    (tmp_path / "mine").mkdir()
    for split in ("train", "test", "few"):
        (tmp_path / "mine" / f"{split}.csv").write_text("sentence,label\na,0\n")
    config = TaskConfig(name="mine", kind="text", source="hub", eval_split="test", data_dir=str(tmp_path))
    config.train_split = "few"
    assert local_files(config)[0].stem == "few"
    config.train_split = "train[:10]"
    with pytest.raises(UserError, match="lacks .*train.:10..parquet"):
        local_files(config)


def test_texts_that_fill_the_models_positions_leave_room_for_a_prefix(tmp_path):
    rows = pd.DataFrame({"sentence": ["the dog sleeps . " * 100] * 8, "label": [0, 1] * 4})
    (tmp_path / "mine").mkdir()
    for split in ("train", "validation"):
        rows.to_parquet(tmp_path / "mine" / f"{split}.parquet")
    mine = ["model=roberta_tiny", "task=grammar/sentiment", "task.name=mine", f"task.data_dir={tmp_path}"]
    mine += ["trainer.max_steps=1", "trainer.progress=false", "task.max_length=1000"]
    positions = 66 - 2  # RoBERTa's begin behind that of padding, 1
    for adapter, virtual in (("lora", 0), ("prefix", 8), ("prefix", 61)):
        more = [f"adapter.peft.num_virtual_tokens={virtual}"] * bool(virtual)
        record = start(tmp_path, *mine, f"adapter={adapter}", *more, short=False)
        _, data, _ = load_run(folder_of(tmp_path, record))
        assert set(data.lengths) == {positions - virtual}
    with pytest.raises(UserError, match="num_virtual_tokens=62 leaves no room for text: the model has 64 positions"):
        start(tmp_path, *mine, "adapter=prefix", "adapter.peft.num_virtual_tokens=62", short=False)


def test_fp32_is_fp32(monkeypatch):
    torch.set_float32_matmul_precision("high")
    make_accelerator("no")
    assert torch.get_float32_matmul_precision() == "highest" and not torch.backends.cuda.matmul.allow_tf32
    for name, value in (("NVIDIA_TF32_OVERRIDE", "1"), ("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")):
        monkeypatch.setenv(name, value)
        with pytest.raises(UserError, match=f"{name}={value} makes fp32 less precise"):
            check_fp32()
        monkeypatch.setenv(name, {"1": "0", "BF16": "STRICT"}[value])
        check_fp32()


@pytest.mark.parametrize("metric", [*PAIRS, *METRICS])
def test_a_metric_makes_no_folder(metric, monkeypatch):
    monkeypatch.setattr(os, "makedirs", None)
    assert TaskMetrics(metric).compute(predictions=[0, 1], references=[0, 1], positive=1)


@pytest.mark.slow
def test_nothing_is_written_to_home(tmp_path):
    """A home that is no folder: whatever is made in it fails."""
    arguments = [*GRAMMAR, "adapter=lora", "trainer.max_steps=1", "trainer.progress=false", f"results_dir={tmp_path}"]
    names = ("XDG_CACHE_HOME", "HF_HOME", "HF_MODULES_CACHE", "HF_DATASETS_CACHE", "MPLCONFIGDIR")
    environment = {name: value for name, value in os.environ.items() if name not in names} | {"HOME": os.devnull}
    called = [sys.executable, "-m", "surm_bench", *arguments]
    done = subprocess.run(called, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and "matthews_correlation" in done.stdout and done.stderr == ""


@pytest.mark.parametrize("launcher", [None, "joblib"])
def test_a_refusal_that_runs_share_is_told_once_and_before(tmp_path, launcher):
    experiment = tiny_experiment()
    nowhere = [job for job in pairs(experiment) for _ in range(3)]
    (problem,) = run_jobs(nowhere, tmp_path, "tiny", ("model.weights=/nowhere",), launcher=launcher)
    assert problem.startswith(f"{len(nowhere)} runs cannot start: model.weights=/nowhere does not exist")
    assert not list((tmp_path / "runs").iterdir())


def test_names_for_wandb_are_no_longer_than_it_takes(tmp_path):
    groups = {name: {"name": name * 40} for name in ("model", "task", "adapter")}
    groups["adapter"]["label"] = "L" * 300
    config = resolved([]).having(**groups, results_dir=str(tmp_path / ("x" * 71)))
    other = config.having(results_dir=str(tmp_path / ("x" * 72)))
    assert all(1 <= len(tag) <= 64 for tag in tags(config)) and tags(config)[-1] != tags(other)[-1]
    assert len(run_name(config)) == 128 and len(group_name(config, "abc")) == 128
    assert group_name(config, "abc").endswith(" (abc)")
    assert tags(config.having(model={"name": "same"}, task={"name": "same"}))[:1] == ["same"]
