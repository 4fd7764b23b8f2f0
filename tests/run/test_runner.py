"""One run from its configuration to its record, on the embedded models and tasks."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.cases import slow_but
from support.runs import ADAPTERS, DIGITS, GRAMMAR, SMALLER, folder_of, start

from surm_bench import records
from surm_bench.config import identity
from surm_bench.config.composition import resolved
from surm_bench.errors import UserError
from surm_bench.records.record import Baseline
from surm_bench.run import outcome
from surm_bench.run.loading import evaluate, load_run
from surm_bench.tasks import Classification


def last(record: dict, split: str = "reported") -> dict[str, float]:
    return record.scores[split]["last"]


QUICK = ("adalora", "circulant", "full", "linear_probe", "prefix")


@pytest.mark.parametrize("adapter", slow_but(QUICK, ADAPTERS))
def test_an_adapter_runs_saves_and_loads_to_the_same_scores(tmp_path, adapter):
    backbone = GRAMMAR if ADAPTERS.index(adapter) % 2 else DIGITS
    record = start(tmp_path, *backbone, f"adapter={adapter}", *SMALLER.get(adapter, []))
    assert record.status == "success"
    model, data, settings = load_run(folder_of(tmp_path, record))
    assert evaluate(model, data, settings) == last(record)
    assert record.primary_metric in last(record)


def test_the_record_says_everything(tmp_path):
    record = start(tmp_path, *DIGITS, "adapter=circulant", "optimizer.lr=0.02", seed=5)
    path = folder_of(tmp_path, record) / "record.json"
    document = json.loads(path.read_text())
    assert document == record.document() and records.read_file(path) == record
    known = {"schema_version", "checksum", "run_id", "group_id", "status", "config", "identity", "code", "command"}
    known |= {"seed", "environment", "created", "attempts", "files", "primary_metric", "greater_is_better"}
    measured = {"scores", "epochs", "selection", "kept", "examples", "parameters", "baseline", "timing", "memory"}
    measured |= {"train_examples", "history", "segments", "change"}
    assert set(document) == known | measured
    assert (record.seed, record.config.optimizer.lr, record.attempts) == (5, 0.02, 1)
    depth, d = 4, 64  # of vit_digits
    assert record.parameters.adapter == depth * 2 * 2 * d
    assert record.parameters.stored == depth * 2 * d
    assert record.baseline == Baseline("lora", 8, parameters=depth * 2 * 16 * d, ratio=8.0)
    timing = {"train_seconds", "step_ms_median", "step_ms_p99", "samples_per_second", "wall_seconds"}
    assert set(document["timing"]) == timing
    assert record.timing.step_ms_median <= record.timing.step_ms_p99
    assert record.history[-1]["step"] == 4 and record.examples == {"reported": 32}
    assert record.train_examples == 64
    assert record.environment.torch == torch.__version__
    (segment,) = record.segments
    assert (segment["from_step"], segment["to_step"]) == (0, 4)
    assert segment["device_kind"] == record.environment.device_kind
    adapter = ("adapter/adapter_model.safetensors", "adapter/adapter_config.json", "predictions.parquet")
    assert set(record.files) == set(adapter)
    assert {file.name for file in path.parent.iterdir()} >= {"record.json", "adapter", "predictions.parquet"}
    assert not (path.parent / "state").exists() and not (path.parent / "lock.json").exists()


def test_the_same_seed_gives_the_same_bits(tmp_path):
    first, second = (start(tmp_path / name, *GRAMMAR, "adapter=circulant") for name in "ab")
    other = start(tmp_path / "a", *GRAMMAR, "adapter=circulant", seed=1)
    assert first.run_id == second.run_id != other.run_id
    assert first.group_id == second.group_id == other.group_id
    assert first.history == second.history != other.history
    assert first.files == second.files != other.files


def test_the_epoch_is_chosen_on_the_split_that_the_validation_names(tmp_path):
    """dev: the reported split itself; holdout: rows of train; tuning: these alone, and nothing else is scored."""
    long = ["adapter=lora", "trainer.max_steps=null", "trainer.epochs=3"]
    scored = {"dev": ["reported"], "holdout": ["reported", "validation"], "tuning": ["validation"]}
    for validation, splits in scored.items():
        record = start(tmp_path, *DIGITS, *long, f"task.validation={validation}")
        assert list(record.scores) == splits and record.selection == splits[-1]
        assert all(list(epoch["scores"]) == splits for epoch in record.history)
        chosen = [epoch["scores"][splits[-1]]["accuracy"] for epoch in record.history]
        assert record.epochs["best"]["epoch"] == chosen.index(max(chosen))  # the first of equal ones
        assert record.epochs["last"]["epoch"] == 2
        for split in splits:
            of_epoch = [epoch["scores"][split] for epoch in record.history]
            assert record.scores[split] == {"last": of_epoch[2], "best": of_epoch[chosen.index(max(chosen))]}


def test_results_by_hand():
    """The reported split prefers epoch 1, the held-out part epoch 0 (the first of two equal ones)."""
    scores = [(0.5, 0.8), (0.7, 0.8), (0.6, 0.4)]

    class History:
        labels = {"reported": np.zeros(5), "validation": np.zeros(3)}
        segments: list = []
        evaluations = [
            {
                "epoch": epoch,
                "step": 5 * epoch + 5,
                "scores": {"reported": {"accuracy": reported}, "validation": {"accuracy": held_out}},
            }
            for epoch, (reported, held_out) in enumerate(scores)
        ]

    objective = Classification("accuracy", "accuracy")
    configs = (resolved(DIGITS).having(task={"validation": validation}) for validation in ("holdout", "dev"))
    held, dev = (SimpleNamespace(**outcome.results(History, objective, config)) for config in configs)
    assert held.selection == "validation" and held.examples == {"reported": 5, "validation": 3}
    assert held.epochs == {"last": {"epoch": 2, "step": 15}, "best": {"epoch": 0, "step": 5}}
    assert held.scores["reported"] == {"last": {"accuracy": 0.6}, "best": {"accuracy": 0.5}}
    assert held.scores["validation"] == {"last": {"accuracy": 0.4}, "best": {"accuracy": 0.8}}
    assert dev.selection == "reported" and dev.epochs["best"] == {"epoch": 1, "step": 10}
    assert dev.scores["reported"]["best"] == {"accuracy": 0.7}


def test_placement_decides_where_residual_adapters_go(tmp_path):
    """Pfeiffer's is one place of Houlsby's two."""
    houlsby, pfeiffer = (
        asdict(start(tmp_path, *DIGITS, "adapter=adapter_circulant", f"adapter.peft.placement={placement}").parameters)
        for placement in ("houlsby", "pfeiffer")
    )
    assert houlsby["adapter"] == 2 * pfeiffer["adapter"] == 2 * 4 * 3 * 64


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+adapter.nothing=1"], "unknown key adapter.nothing"),
        (
            ["adapter=lora_pevit", "trainer.eval_batch_size=64"],
            "trainer.eval_batch_size=64 is not possible with lora_pevit, .* leave it at 128",
        ),
        (["task=grammar/sentiment"], "of kind 'text', but model vit_digits is of family 'vision': choose a text model"),
        (["adapter.peft._target_=peft.Nope"], "adapter.peft._target_='peft.Nope' is not the class of a PEFT config"),
        (["seed=-1"], "seed=-1"),
        (["task.primary_metric=f1"], "unknown task.primary_metric 'f1'"),
    ],
)
def test_bad_input_is_refused_before_anything_begins(tmp_path, overrides, message):
    with pytest.raises(UserError, match=message) as error:
        start(tmp_path, *DIGITS, *overrides)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("runs/*"))


def test_a_method_with_other_defaults_than_ids_are_made_with_is_refused(tmp_path, monkeypatch):
    written = identity.method_defaults("surm_bench.adapters.SurmConfig") | {"exclude_modules": ["head"]}
    monkeypatch.setattr(identity, "_written_defaults", lambda: {"surm_bench.SurmConfig": written})
    with pytest.raises(UserError, match="surm_bench.SurmConfig as installed has other defaults"):
        start(tmp_path, *DIGITS, "adapter=circulant")


@pytest.mark.slow
def test_two_processes_are_one_run(tmp_path):
    """torchrun on a CPU: one record, one summary, half the steps an epoch, and an identity of its own."""
    arguments = [*DIGITS, "adapter=lora", "trainer.epochs=1", "trainer.progress=false", "task.max_train_samples=128"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "surm_bench", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, f"results_dir={tmp_path}"], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("LoRA r=8 on digits, seed 0: run ") == 1
    assert done.stdout.count("LoRA r=8 on digits (vit_digits, seed 0): accuracy") == 1
    archive = records.Archive(tmp_path)
    (record,) = archive.records()
    assert archive.problems == [] and record.status == "success"
    assert record.identity["processes"] == record.environment.processes == 2
    assert record.history[-1]["step"] == 2  # 128 examples, twice 32 a step
    model, data, settings = load_run(folder_of(tmp_path, record))
    assert evaluate(model, data, settings)["accuracy"] == pytest.approx(last(record)["accuracy"])
