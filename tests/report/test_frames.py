"""Frames of runs and cells: counts, means and deviations by hand."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.made_up import changed
from support.run_records import ORDER, PEFT, run, texts

from surm_bench import records
from surm_bench.errors import UserError
from surm_bench.report import frames
from surm_bench.report.frames import adapter_family, columns_of, runs_frame, summary_frame, task_columns
from surm_bench.report.tables import comparison_table


def test_runs_frame_has_every_run_and_what_it_measured(runs):
    frame = runs_frame(runs)
    assert len(frame) == len(runs)
    first = frame.iloc[0]
    assert (first["model"], first["task"], first["label"]) == ("roberta_base", "glue/rte", "circulant")
    assert (first["score"], first["best_score"], first["lora_ratio"]) == (0.80, 0.81, 8.0)
    assert (first["adapter_parameters"], first["head_parameters"], first["stored_parameters"]) == (36864, 592130, 18432)
    failed = frame[frame["status"] == "failed"]
    assert len(failed) == 2 and failed["score"].isna().all() and failed["adapter_parameters"].isna().all()
    assert np.isnan(frame.set_index("label").loc["linear probe", "lora_ratio"])


def test_summary_is_mean_and_sample_deviation_over_successful_seeds(summary):
    cells = summary.set_index(["task", "label"])
    circulant = cells.loc[("glue/rte", "circulant")]
    assert circulant["mean"] == pytest.approx(0.82) and circulant["std"] == pytest.approx(0.02) and circulant["n"] == 3
    assert (circulant["train_seconds"], circulant["wall_seconds"]) == (pytest.approx(11.0), pytest.approx(21.0))
    lora = cells.loc[("glue/rte", "LoRA r=8")]
    assert (lora["mean"], lora["n"]) == (pytest.approx(0.82), 2) and lora["std"] == pytest.approx(0, abs=1e-12)
    assert math.isnan(cells.loc[("glue/rte", "linear probe"), "std"])


def test_a_declared_value_is_in_both_frames(runs, monkeypatch):
    """The seed plus one, as a mean over the scored runs: LoRA's third run on rte failed."""
    more = frames.RunValue("later", "float64", lambda record, _: record.seed + 1.0, "mean")
    monkeypatch.setattr(frames, "RUN_VALUES", (*frames.RUN_VALUES, more))
    assert runs_frame(runs)["later"].tolist() == [record.seed + 1 for record in runs]
    summary = summary_frame(runs_frame(runs))
    assert summary.columns[-1] == "later"
    assert summary.set_index(["task", "label"])["later"]["glue/rte", "LoRA r=8"] == 1.5


def test_the_peak_memory_is_in_mib_and_not_in_runs_csv(runs):
    with_memory = changed(runs[0], memory={"peak_bytes": 3 * 2**20})
    frame = runs_frame([with_memory, runs[1]])
    assert frame["memory"][0] == 3 and math.isnan(frame["memory"][1])
    assert "memory" not in frames.listed(frame) and set(frame) - set(frames.listed(frame)) == {"memory"}


def test_failed_and_interrupted_runs_are_counted_in_their_cells_and_in_no_mean(summary):
    cells = summary.set_index(["task", "label"])
    assert cells["failed"].to_dict() == {
        ("glue/rte", "LoRA r=8"): 1,
        ("glue/rte", "adapter_houlsby"): 1,
        ("glue/rte", "circulant"): 0,
        ("glue/rte", "linear probe"): 0,
        ("glue/sst2", "LoRA r=8"): 0,
        ("glue/sst2", "adapter_houlsby"): 1,
        ("glue/sst2", "circulant"): 0,
    }
    lost = cells.xs("adapter_houlsby", level="label")
    assert (lost["n"] == 0).all() and lost["mean"].isna().all()


def test_a_success_without_a_score_counts_as_failed():
    """JSON has no number for a metric that was not finite: the record has null."""
    lost = run("circulant", "rte", 1, 0.5)
    lost.scores["reported"]["last"]["accuracy"] = None
    cell = summary_frame(runs_frame([run("circulant", "rte", 0, 0.8), lost])).iloc[0]
    assert (cell["mean"], cell["n"], cell["failed"]) == (0.8, 1, 1)


@pytest.mark.parametrize(
    "task, setting, fraction",
    [
        ({}, "", 1.0),
        ({"fraction": 1.0}, "", 1.0),
        ({"fraction": 0.02}, "2 %", 0.02),
        ({"fraction": 0.005}, "0.5 %", 0.005),
        ({"shots": 5}, "5 shots", None),
        ({"shots": 1}, "1 shot", None),
        ({"vtab1k": True}, "VTAB-1k", None),
        ({"max_train_samples": 400}, "n=400", None),
    ],
)
def test_settings(task, setting, fraction):
    record = run("circulant", "images/cifar10", 0, 0.9, **task)
    row = runs_frame([record]).iloc[0]
    assert row["setting"] == setting
    assert row["fraction"] == fraction if fraction else math.isnan(row["fraction"])
    assert columns_of(record.config) == [("roberta_base", "images/cifar10", setting, "", "accuracy")]


def test_cells_of_different_settings_are_apart():
    records = [run("circulant", "c", 0, 0.6, fraction=0.1), run("circulant", "c", 0, 0.7, shots=5)]
    records += [run("circulant", "c", seed, 0.8) for seed in (0, 1)]
    summary = summary_frame(runs_frame(records))
    assert summary.set_index("setting")["n"].to_dict() == {"": 2, "10 %": 1, "5 shots": 1}


def test_an_extra_split_is_a_row_of_its_own():
    record = run("circulant", "glue/mnli", 0, 0.8, mismatched=0.7)
    frame = runs_frame([record])
    assert frame[["split", "score", "best_score"]].to_numpy().tolist() == [["", 0.8, 0.81], ["mismatched", 0.7, 0.71]]
    assert frame["run_id"].nunique() == 1 and (frame["selection"] == "reported").all() and (frame["epochs"] == 2).all()
    assert [column.title for column in columns_of(record.config)] == ["mnli", "mnli-mm"]


def test_two_configurations_in_one_cell_are_not_averaged(runs):
    runs.append(run("circulant", "glue/rte", 3, 0.1, group="another learning rate"))
    with pytest.raises(UserError, match="glue/rte / circulant was run in 2 configurations.*another learning rate"):
        summary_frame(runs_frame(runs))


def test_one_column_has_one_metric(runs):
    config = runs[0].config.having(task={"primary_metric": "f1"})
    runs[0] = runs[0].having(primary_metric="f1", config=config)
    runs[0].scores["reported"]["last"]["f1"] = 0.8
    with pytest.raises(UserError, match="roberta_base / glue/rte is scored by accuracy and f1"):
        summary_frame(runs_frame(runs))


def test_nothing_run_gives_empty_frames_and_a_table_of_dashes():
    summary = summary_frame(runs_frame([]))
    assert summary.empty
    assert texts(comparison_table(summary, ORDER)) == [[label] for label in ORDER]


@pytest.mark.parametrize(
    "label, family", zip(ORDER, ["LoRA", "structured", "bottleneck", "own parameters"], strict=True)
)
def test_family(label, family):
    assert adapter_family(PEFT[label]) == family


@pytest.mark.parametrize(
    "target, family",
    [
        ("peft.AdaLoraConfig", "LoRA"),
        ("peft.VeraConfig", "LoRA"),
        ("peft.LoKrConfig", "LoRA"),
        ("surm_bench.adapters.DynamicDoraConfig", "LoRA"),
        ("surm_bench.adapters.Lora2Config", "LoRA"),
        ("surm_bench.adapters.FactConfig", "LoRA"),
        ("surm_bench.adapters.AuroraConfig", "LoRA"),
        ("surm_bench.adapters.SsfConfig", "other PEFT"),
        ("peft.C3AConfig", "other PEFT"),
        ("peft.BOFTConfig", "other PEFT"),
        ("peft.IA3Config", "other PEFT"),
        ("peft.tuners.lora.LoraConfig", "LoRA"),  # another path of the same class
        ("surm_bench.adapters.SurmConfig", "structured"),
        ("mine.LoraConfig", "other PEFT"),
    ],
)
def test_family_of_other_methods(target, family):
    assert adapter_family({"_target_": target}) == family


def test_task_columns_keep_a_models_tasks_together():
    pairs = [("clip", "b"), ("vit", "a"), ("clip", "a"), ("vit", "b"), ("vit", "c")]
    frame = pd.DataFrame(pairs, columns=["model", "task"]).assign(setting="", split="", metric="accuracy")
    by_name = [("clip", "a"), ("clip", "b"), ("vit", "a"), ("vit", "b"), ("vit", "c")]
    assert [column[:2] for column in task_columns(frame)] == by_name
    assert [column[:2] for column in task_columns(frame, ["c", "b"])] == [("vit", "c"), ("vit", "b"), ("clip", "b")]


def test_task_columns_go_from_less_to_all_of_train_and_have_the_reported_split_first():
    rows = [("", ""), ("", "mismatched"), ("10 %", ""), ("2 %", ""), ("5 shots", "")]
    frame = pd.DataFrame(rows, columns=["setting", "split"]).assign(model="m", task="glue/mnli", metric="accuracy")
    titles = [column.title for column in task_columns(frame)]
    assert titles == ["mnli 2 %", "mnli 10 %", "mnli 5 shots", "mnli", "mnli-mm"]


def test_from_files_to_table(runs, tmp_path):
    """What cannot be read is named, and the table is made of the rest."""
    for index, record in enumerate(runs):
        records.write(record.having(run_id=f"{index:012d}"), tmp_path)
    (tmp_path / "runs" / "000000000000" / "record.json").write_text("{")
    truncated = tmp_path / "runs" / "000000000003" / "record.json"  # one of LoRA's
    truncated.write_text(truncated.read_text()[:-100])
    (tmp_path / "runs" / "old").mkdir()
    (tmp_path / "runs" / "old" / "record.json").write_text(json.dumps(runs[0].document() | {"schema_version": 0}))
    archive = records.Archive(tmp_path)
    problems = archive.problems
    assert [re.sub(r".*runs/(\w+)/.*", r"\1", problem) for problem in problems] == [
        "000000000000",
        "000000000003",
        "old",
    ]
    assert "schema_version 0" in problems[2] and not any("\n" in problem for problem in problems)
    table = comparison_table(summary_frame(runs_frame(archive.records())), ORDER)
    assert texts(table)[1][3] == "83.0 ± 1.4 (n=2)"  # 0.82 and 0.84: std 0.02 / sqrt(2)
    assert texts(table)[0][3] == "82.0 (n=1)"


PAPER = Path(__file__).parents[2] / "results" / "paper.yaml"


def test_reports_are_made_without_torch(runs, tmp_path):
    for index, record in enumerate(runs):
        records.write(record.having(run_id=f"{index:012d}"), tmp_path)
    code = f"""
import sys
from surm_bench import records
from surm_bench.report import console, figures, frames, looks, published, tables
found = records.Archive({str(tmp_path)!r}).records()
summary = frames.summary_frame(frames.runs_frame(found))
table = tables.comparison_table(summary, published=published.load_published({str(PAPER)!r}))
tables.write_table(table, {str(tmp_path)!r}, "table")
families = {{record.config.adapter.label: "structured" for record in found}}
figures.learning_curves(frames.curves_frame(found), looks.method_looks(families), {str(tmp_path / "curves")!r})
heavy = {{"torch", "transformers", "peft", "timm", "datasets"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "table.tex").is_file() and (tmp_path / "curves.png").is_file()
