import io
import json
import math
import re
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from support.made_up import changed
from support.made_up import record as made_up

from surm_bench import records
from surm_bench.errors import UserError
from surm_bench.metrics import METRICS
from surm_bench.records import Record
from surm_bench.report import figures, frames, pareto
from surm_bench.report.ablation import ablation_table, adapters_table
from surm_bench.report.console import print_table
from surm_bench.report.figures import accuracy_against_fraction, learning_curves
from surm_bench.report.frames import (
    TaskColumn,
    adapter_family,
    columns_of,
    curves_frame,
    runs_frame,
    summary_frame,
    task_columns,
)
from surm_bench.report.labels import place_labels
from surm_bench.report.looks import MARKERS, SHADES, leading, method_looks
from surm_bench.report.panels import save
from surm_bench.report.pareto import accuracy_against_parameters, pareto_front, staircase
from surm_bench.report.provenance import commit, provenance
from surm_bench.report.published import Published, Result, Source, load_published
from surm_bench.report.swarm import moved_aside
from surm_bench.report.tables import comparison_table, to_latex, to_markdown, write_table

PEFT = {
    "LoRA r=8": {"_target_": "peft.LoraConfig", "r": 8},
    "circulant": {"_target_": "surm_bench.adapters.SurmConfig", "structure": "circulant"},
    "adapter_houlsby": {"_target_": "surm_bench.adapters.ResidualAdapterConfig", "bottleneck": 16, "structure": None},
    "linear probe": {"_target_": "surm_bench.adapters.SubsetConfig", "parameters": "none"},
}
PARAMETERS = {"LoRA r=8": 294_912, "circulant": 36_864, "adapter_houlsby": 608_640, "linear probe": 0}
ORDER = list(PEFT)
PAPER = Path(__file__).parents[2] / "results" / "paper.yaml"


TASK = {"primary_metric": "accuracy", "extra_eval_splits": {}} | dict.fromkeys(
    ("fraction", "shots", "vtab1k", "max_train_samples")
)
ENVIRONMENT = {
    "device": "cpu (2 cores)",
    "device_kind": "cpu",
    "platform": "Linux",
    "git_commit": "c",
    "git_dirty": False,
}


def run(label, task, seed, score, status="success", model="roberta_base", group=None, mismatched=None, **setting):
    """A record as the runner writes it; setting: further keys of the task, as fraction=0.02."""
    name = f"{model} {task} {label} {setting}"
    extra = {} if mismatched is None else {"mismatched": mismatched}
    record = {
        "run_id": f"{name} {seed}",
        "group_id": group or name,
        "status": status,
        "config": {
            "model": {"name": model},
            "task": TASK | {"name": task, "extra_eval_splits": dict.fromkeys(extra, "mm")} | setting,
            "adapter": {"name": label.split()[0].lower(), "label": label, "peft": PEFT[label]},
            "optimizer": {"lr": 1e-3},
            "trainer": {"epochs": 2},
            "seed": seed,
        },
        "code": {"sources": "s", "method": None},
        "environment": ENVIRONMENT,
        "primary_metric": "accuracy",
        "greater_is_better": True,
        "seed": seed,
        "created": "2026-01-01T00:00:00+00:00",
        "files": {},
    }
    if status != "success":
        return Record.of_document(record | {"error": "the loss is nan at step 7"}).having()
    count = PARAMETERS[label]
    measured = {
        "scores": {
            split: {"last": {"accuracy": value}, "best": {"accuracy": value + 0.01}}
            for split, value in {"reported": score, **extra}.items()
        },
        "epochs": {"last": {"epoch": 2, "step": 2}, "best": {"epoch": 1, "step": 1}},
        "selection": "reported",
        "examples": {split: 100 for split in ("reported", *extra)},
        "parameters": {"adapter": count, "head": 592_130, "other": 0, "total": 10**8, "stored": count // 2},
        "baseline": {"method": "lora", "r": 8, "parameters": 294_912, "ratio": 294_912 / count if count else None},
        "timing": {"train_seconds": 10.0 + seed, "wall_seconds": 20.0 + seed, "step_ms_median": 5.0},
        "history": [
            {"epoch": e, "step": e, "train_loss": 1 / e, "scores": {"reported": {"accuracy": score * e / 2}}}
            for e in (1, 2)
        ],
    }
    return Record.of_document(record | measured).having()


@pytest.fixture
def runs():
    """rte: circulant 0.80, 0.82, 0.84 (mean 0.82, std 0.02); LoRA 0.82 twice and a failure; probe 0.5 once.
    sst2: circulant 0.90, 0.92, 0.94; LoRA 0.901, 0.905, 0.909; the bottleneck has only failed."""
    return [
        *(run("circulant", "glue/rte", seed, score) for seed, score in enumerate((0.80, 0.82, 0.84))),
        *(run("LoRA r=8", "glue/rte", seed, 0.82) for seed in (0, 1)),
        run("LoRA r=8", "glue/rte", 2, 0.0, status="failed"),
        run("linear probe", "glue/rte", 0, 0.5),
        *(run("circulant", "glue/sst2", seed, score) for seed, score in enumerate((0.90, 0.92, 0.94))),
        *(run("LoRA r=8", "glue/sst2", seed, score) for seed, score in enumerate((0.901, 0.905, 0.909))),
        run("adapter_houlsby", "glue/sst2", 0, 0.99, status="failed"),
        run("adapter_houlsby", "glue/rte", 0, 0.99, status="interrupted"),
    ]


@pytest.fixture
def summary(runs):
    return summary_frame(runs_frame(runs))


def looks():
    """Of all methods, in the order of the table."""
    return method_looks({label: adapter_family(peft) for label, peft in PEFT.items()})


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


@pytest.fixture
def diverged():
    """rte: of three seeds of circulant one diverged, LoRA 0.7 and 0.9 (0.8); sst2: circulant 0.6, LoRA 0.5."""
    return [
        *(run("circulant", "glue/rte", seed, score) for seed, score in enumerate((0.96, 0.98))),
        run("circulant", "glue/rte", 2, 0.0, status="diverged"),
        *(run("LoRA r=8", "glue/rte", seed, score) for seed, score in enumerate((0.7, 0.9))),
        run("circulant", "glue/sst2", 0, 0.6),
        run("LoRA r=8", "glue/sst2", 0, 0.5),
        run("linear probe", "glue/sst2", 0, 0.0, status="diverged"),
    ]


def marks(table, column):
    index = [c.title for c in table.columns].index(column)
    return [row[index].mark for row in table.rows]


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


def test_a_setting_that_diverged_on_a_seed_has_no_mean(diverged):
    """Not that of its other runs, and it is neither in an average nor best; on LoRA's cells nothing changes."""
    summary = summary_frame(runs_frame(diverged))
    cell = summary.set_index(["task", "label"]).loc[("glue/rte", "circulant")]
    assert np.isnan([cell["mean"], cell["std"]]).all() and (cell["n"], cell["diverged"], cell["failed"]) == (2, 1, 0)
    table = comparison_table(summary, ["LoRA r=8", "circulant", "linear probe"])
    assert [row[3:] for row in texts(table)] == [
        ["80.0 ± 14.1", "50.0 (n=1)", "65.0"],
        ["1 of 3 diverged", "60.0 (n=1)", "—"],
        ["—", "1 of 1 diverged", "—"],
    ]
    assert marks(table, "rte") == ["best", "", ""] and marks(table, "Average") == ["best", "", ""]
    assert "A setting that diverged on a seed has no mean." in table.caption and "failed" not in table.caption


def test_from_four_tasks_on_there_is_a_mean_rank():
    """By hand: circulant is first, second, first and tied; the probe lacks a task."""
    scores = {"circulant": (0.9, 0.5, 0.8, 0.7), "LoRA r=8": (0.8, 0.6, 0.7, 0.7), "linear probe": (0.1, 0.1, 0.1)}
    runs = [run(label, task, 0, s) for label, of in scores.items() for task, s in zip("wxyz", of, strict=False)]
    table = comparison_table(summary_frame(runs_frame(runs)), list(scores))
    assert [column.title for column in table.columns][-2:] == ["Average", "Mean rank"]
    assert [row[-1] for row in texts(table)] == ["1.4", "1.6", "—"]  # (1 + 2 + 1 + 1.5) / 4
    assert "The mean rank is over the tasks" in table.caption
    three = comparison_table(summary_frame(runs_frame([one for one in runs if one.config.task.name != "z"])))
    assert "Mean rank" not in [column.title for column in three.columns] and "rank" not in three.caption


def test_a_setting_that_diverged_on_a_seed_has_no_learning_curve(diverged, tmp_path):
    """That of its other runs would flatter it; where it did not diverge it is drawn."""
    on_rte = [record for record in diverged if record.config.task.name == "glue/rte"]
    for found, drawn in ((on_rte, {"LoRA r=8"}), (diverged, {"LoRA r=8", "circulant"})):
        _, curves, _ = learning_curves(curves_frame(found), looks(), tmp_path / "curves")
        assert {text for text in written_in(curves) if text in ORDER} == drawn


def test_a_table_of_several_machines_or_states_of_the_code_says_so():
    """By hand, of four runs: three on a CPU, one on a GPU; two digests of the sources, twice each; one dirty tree."""
    same = [run("circulant", "rte", seed, 0.5) for seed in range(4)]
    assert provenance(same) == "" == provenance([])
    several = [
        changed(record, environment=ENVIRONMENT | {"device_kind": kind, "git_dirty": dirty}, code={"sources": sources})
        for record, kind, sources, dirty in zip(
            same, ("gpu", "cpu", "cpu", "cpu"), "aabb", (False, False, True, False), strict=True
        )
    ]
    assert provenance(several) == (
        "The runs were made on 2 kinds of device (with the number of runs): cpu (3), gpu (1). "
        "The runs were made by 2 versions of the code (digest, and number of runs): a (2), b (2). "
        "The code of 1 of 4 runs had uncommitted changes."
    )


def test_the_code_of_a_run_is_told_by_its_commit_or_else_by_its_sources():
    known, dirty = ({"device": "cpu", "git_commit": "c", "git_dirty": dirty} for dirty in (False, True))
    installed = {"device": "cpu", "surm_bench": "0.1.0"}
    of_code = made_up(code={"sources": "abc", "method": None})
    told = [commit(changed(of_code, environment=one)) for one in (known, dirty, installed)]
    assert told == ["c", "c with uncommitted changes", "unknown commit: surm_bench 0.1.0, sources abc"]


def test_what_a_change_of_protocol_is_worth_by_hand():
    """lora 0.5 and 0.7 (mean 0.6, sd 0.141) under the protocol, 0.8 without clipping; circulant 0.4, then 0.3; a third
    variant has run for one of them alone. The settings that were not chosen count nowhere."""
    rows = [
        ("protocol", "lora", 100, 0.5, True), ("protocol", "lora", 101, 0.7, True),
        ("protocol", "lora", 100, 0.9, False), ("protocol", "circulant", 100, 0.4, True),
        ("no clipping", "lora", 100, 0.8, True), ("no clipping", "circulant", 100, 0.3, True),
        ("half", "lora", 100, 0.1, True),
    ]  # fmt: skip
    scores = pd.DataFrame(rows, columns=["task", "label", "seed", "score", "chosen"]).assign(metric="accuracy")
    variants = ["protocol", "half", "no clipping", "never run"]
    table = ablation_table(scores, variants, ["lora", "circulant"], [100, 101], "The rule.")
    assert texts(table) == [
        ["protocol", "60.0 ± 14.1", "40.0", "+0.0"],
        ["half", "10.0", "—", "—"],
        ["no clipping", "80.0", "30.0", "+5.0"],  # (20 − 10) / 2
        ["never run", "—", "—", "—"],
    ]
    assert marks(table, "lora") == ["", "", "best", ""] and marks(table, "circulant") == ["best", "", "", ""]
    assert "seeds 100, 101" in table.caption and table.protocol == "The rule."


def test_what_a_change_of_protocol_is_worth_is_drawn_where_it_is(tmp_path, monkeypatch):
    """One mark for each adapter and variant that was run, at its mean score × 100; a line at those of the first."""
    from surm_bench.report import ablation_figure as module

    rows = [
        ("protocol", "LoRA", 100, 0.5, True), ("protocol", "LoRA", 101, 0.7, True),
        ("protocol", "LoRA", 100, 0.9, False), ("protocol", "Circulant", 100, 0.4, True),
        ("no clipping", "Circulant", 100, 0.3, True),
    ]  # fmt: skip
    scores = pd.DataFrame(rows, columns=["task", "label", "seed", "score", "chosen"]).assign(metric="accuracy")
    drawn = []
    monkeypatch.setattr(module, "save", lambda figure, path: drawn.append(figure) or save(figure, path))
    looks = method_looks({"LoRA": "LoRA", "Circulant": "structured", "never run": "LoRA"})
    written = module.ablation_figure(scores, ["protocol", "no clipping"], looks, tmp_path / "choices.png")
    assert all(path.stat().st_size > 0 for path in written)
    axes = drawn[0].axes[0]
    marks = [bars.lines[0].get_xydata().tolist() for bars in axes.containers]
    assert marks[1] == [[40.0, 0.0], [30.0, 1.0]]
    assert marks[0][0] == [60.0, 0.0] and np.isnan(marks[0][1][0])
    lines = [line.get_xdata()[0] for line in axes.lines if list(line.get_xdata()) == [line.get_xdata()[0]] * 2]
    assert {60.0, 40.0} <= set(lines)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["LoRA", "Circulant"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["protocol", "no clipping"]


def test_scores_that_are_shown_alike_are_both_the_best():
    rows = [("a", "lora", 100, 0.8004, True), ("b", "lora", 100, 0.8001, True), ("c", "lora", 100, 0.79, True)]
    scores = pd.DataFrame(rows, columns=["task", "label", "seed", "score", "chosen"]).assign(metric="accuracy")
    assert marks(ablation_table(scores, ["a", "b", "c"], ["lora"], [100]), "lora") == ["best", "best", ""]


def test_many_adapters_have_a_row_each_by_hand():
    rows = [
        ("LoRA", "300", 10, 0.5, float("nan")), ("LoRA", "900", 10, 0.7, 0.01), ("Circulant", "300", 20, 0.6, 0.02),
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["label", "task", "adapter_parameters", "mean", "std"]).assign(metric="accuracy")
    table = adapters_table(frame, ["300", "900"], ["LoRA", "Circulant", "never run"], [100, 101], "The rule.")
    assert texts(table) == [
        ["LoRA", "10", "50.0", "70.0 ± 1.0"],
        ["Circulant", "20", "60.0 ± 2.0", "—"],
        ["never run", "—", "—", "—"],
    ]
    assert marks(table, "300") == ["", "best", ""] and marks(table, "900") == ["best", "", ""]
    assert "Change" not in table.caption and "seeds 100, 101" in table.caption
    one = adapters_table(frame, ["300"], ["LoRA"], [100], "The rule.")
    assert "from one run with the tuning seed 100" in one.caption


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


def test_table_cells(summary):
    table = comparison_table(summary, ORDER)
    titles = ["Adapter", "Parameters", "× fewer than LoRA r=8 on q, v", "rte", "sst2", "Average"]
    assert [column.title for column in table.columns] == titles
    assert texts(table) == [
        ["LoRA r=8", "294,912", "1.0×", "82.0 ± 0.0 (n=2)", "90.5 ± 0.4", "86.2"],  # 86.25 is below it in binary
        ["circulant", "36,864", "8.0×", "82.0 ± 2.0", "92.0 ± 2.0", "87.0"],
        ["adapter_houlsby", "—", "—", "—", "—", "—"],
        ["linear probe", "0", "—", "50.0 (n=1)", "—", "—"],
    ]


def test_ties_are_all_best_and_the_next_is_second(summary):
    table = comparison_table(summary, ORDER)
    assert marks(table, "rte") == ["best", "best", "", "second"]
    assert marks(table, "sst2") == ["second", "best", "", ""]
    assert marks(table, "Average") == ["second", "best", "", ""]
    assert marks(table, "Parameters") == [""] * 4


def test_a_tie_is_what_looks_equal():
    scores = {"LoRA r=8": 0.81239, "circulant": 0.81161, "linear probe": 0.8114}  # 81.2, 81.2, 81.1
    summary = summary_frame(runs_frame([run(label, "rte", 0, score) for label, score in scores.items()]))
    assert marks(comparison_table(summary, list(scores)), "rte") == ["best", "best", "second"]


def test_order_and_columns_choose_rows_and_columns(summary):
    columns = [("roberta_base", "glue/sst2"), ("roberta_base", "glue/rte", "", "")]
    table = comparison_table(summary, ["circulant", "LoRA r=8"], columns)
    assert [column.title for column in table.columns][3:] == ["sst2", "rte", "Average"]
    assert [row[0].text for row in table.rows] == ["circulant", "LoRA r=8"]
    by_size = comparison_table(summary)
    assert [row[0].text for row in by_size.rows] == ["linear probe", "circulant", "LoRA r=8", "adapter_houlsby"]


def test_counts_stand_once_a_model(runs):
    runs += [run("circulant", "images/digits", 0, 0.9, model="vit_digits")]
    table = comparison_table(summary_frame(runs_frame(runs)), ORDER)
    columns = [(c.title[:10], c.model) for c in table.columns]
    assert columns == [
        ("Adapter", ""),
        ("Parameters", "roberta_base"),
        ("× fewer th", "roberta_base"),
        ("rte", "roberta_base"),
        ("sst2", "roberta_base"),
        ("Average", "roberta_base"),  # of one task there is none
        ("Parameters", "vit_digits"),
        ("× fewer th", "vit_digits"),
        ("digits", "vit_digits"),
    ]
    assert "rte<br>roberta_base" in to_markdown(table)
    spans = r"\multicolumn{1}{c}{} & \multicolumn{5}{c}{roberta\_base} & \multicolumn{3}{c}{vit\_digits} \\"
    assert spans in to_latex(table)
    assert r"\cmidrule(lr){2-6} \cmidrule(lr){7-9}" in to_latex(table)


@pytest.fixture
def glue():
    """mnli: circulant 0.80, 0.82 (mean 0.81), mismatched 0.79, 0.80; LoRA 0.83 twice, mismatched 0.82 twice, and one
    broken off. rte: circulant 0.70, 0.72 (0.71); LoRA 0.67 once."""
    return [
        run("circulant", "glue/mnli", 0, 0.80, mismatched=0.79),
        run("circulant", "glue/mnli", 1, 0.82, mismatched=0.80),
        *(run("LoRA r=8", "glue/mnli", seed, 0.83, mismatched=0.82) for seed in (0, 1)),
        run("LoRA r=8", "glue/mnli", 2, 0.9, status="interrupted"),
        *(run("circulant", "glue/rte", seed, score) for seed, score in enumerate((0.70, 0.72))),
        run("LoRA r=8", "glue/rte", 0, 0.67),
        run("LoRA r=8", "glue/rte", 1, 0.0, status="failed"),
    ]


def test_an_average_is_of_reported_splits_alone(glue):
    table = comparison_table(summary_frame(runs_frame(glue)), ["LoRA r=8", "circulant"], seeds=2)
    assert [column.title for column in table.columns][3:] == ["mnli", "mnli-mm", "rte", "Average"]
    assert [row[3:] for row in texts(table)] == [
        ["83.0 ± 0.0", "82.0 ± 0.0", "67.0 (n=1)", "75.0"],  # (83 + 67) / 2; with mismatched it were 77.3
        ["81.0 ± 1.4", "79.5 ± 0.7", "71.0 ± 1.4", "76.0"],  # (81 + 71) / 2; deviations 2/√2 and 1/√2
    ]
    assert marks(table, "mnli-mm") == ["best", "second"] and marks(table, "Average") == ["second", "best"]
    assert "2 runs failed or stopped early" in table.caption and "over 2 seeds" in table.caption
    assert "mnli-mm" not in table.caption and "accuracy for mnli, rte" in table.caption


def test_seeds_say_what_a_cell_should_have(glue):
    table = comparison_table(summary_frame(runs_frame(glue)), ["circulant"], [("roberta_base", "glue/rte")], seeds=3)
    assert texts(table)[0][3] == "71.0 ± 1.4 (n=2)"


def test_no_average_over_fewer_tasks_than_the_others(glue):
    columns = [("roberta_base", task) for task in ("glue/mnli", "glue/rte", "glue/cola")]
    table = comparison_table(summary_frame(runs_frame(glue)), ["LoRA r=8", "circulant"], columns)
    assert [row[-2:] for row in texts(table)] == [["—", "—"], ["—", "—"]]


def test_planned_rows_and_columns_are_shown_before_anything_was_run():
    columns = [
        TaskColumn("roberta_base", "glue/mnli", metric="accuracy"),
        TaskColumn("roberta_base", "glue/mnli", split="mismatched", metric="accuracy"),
        TaskColumn("roberta_base", "glue/cola", metric="matthews_correlation"),
    ]
    table = comparison_table(summary_frame(runs_frame([])), ORDER, columns, seeds=3)
    titles = ["Adapter", "Parameters", "× fewer than LoRA r=8 on q, v", "mnli", "mnli-mm", "cola", "Average"]
    assert [column.title for column in table.columns] == titles
    assert texts(table) == [[label, *["—"] * 6] for label in ORDER]
    assert "accuracy for mnli; matthews correlation for cola" in table.caption and "failed" not in table.caption


def test_each_model_and_each_setting_of_several_tasks_has_an_average():
    """vit: a 2 % 0.5, b 2 % 0.7 (mean 0.6), a 0.9, no b; clip: a 0.8, b 0.4 (mean 0.6)."""
    runs = [run("circulant", "a", 0, 0.5, model="vit", fraction=0.02), run("circulant", "a", 0, 0.9, model="vit")]
    runs += [run("circulant", "b", 0, 0.7, model="vit", fraction=0.02)]
    runs += [run("circulant", task, 0, score, model="clip") for task, score in (("a", 0.8), ("b", 0.4))]
    columns = [("vit", "a", "2 %"), ("clip", "a"), ("vit", "b", "2 %"), ("vit", "a"), ("clip", "b")]  # not in order
    table = comparison_table(summary_frame(runs_frame(runs)), None, columns)
    shown = [(c.model, c.title, cell.text) for c, cell in zip(table.columns, table.rows[0], strict=True)]
    assert [entry for entry in shown if entry[1][0] in "abA" and entry[0]] == [
        ("vit", "a 2 %", "50.0"),
        ("vit", "b 2 %", "70.0"),
        ("vit", "a", "90.0"),
        ("vit", "Average 2 %", "60.0"),
        ("clip", "a", "80.0"),
        ("clip", "b", "40.0"),
        ("clip", "Average", "60.0"),
    ]


PUBLISHED = Published(
    sources={
        "hu": Source("Hu et al., 2022", "LoRA", "Table 2", "https://x.org", "x", {"default": "accuracy"}, "One seed."),
        "wu": Source("Wu, 2023", "WuRA", "Table 1", "https://y.org", "y", {"default": "accuracy", "glue/rte": "f1"}),
        "unused": Source("Nobody", "None", "Table 9", "https://z.org", "z", {"default": "accuracy"}),
    },
    results=[
        Result("hu", "roberta_base", "LoRA r=8", "0.3M", {"glue/mnli": "99.0 ± 0.3", "glue/rte": "98.0"}, "98.5"),
        Result("wu", "roberta_base", "WuRA", "9K", {"glue/mnli:mismatched": "70.0", "glue/rte": "71.5"}, "70.8"),
        Result("wu", "roberta_base", "FuRA", "8K", {"glue/mnli": "80.0", "glue/rte": "60.0"}, "70.0"),
        Result("wu", "vit_base", "WuRA", "9K", {"glue/rte": "1.0"}),
        Result("unused", "roberta_base", "NoRA", "1", {"glue/cola": "50.0"}),
    ],
)


@pytest.fixture
def beside(glue):
    return comparison_table(summary_frame(runs_frame(glue)), ["LoRA r=8", "circulant"], seeds=2, published=PUBLISHED)


def test_published_rows_stand_below_and_do_not_compete(glue, beside):
    alone = comparison_table(summary_frame(runs_frame(glue)), ["LoRA r=8", "circulant"], seeds=2)
    assert beside.rows == alone.rows and beside.columns == alone.columns
    assert [[cell.text for cell in row] for row in beside.published] == [
        ["LoRA r=8 [Hu et al., 2022]", "0.3M", "—", "99.0 ± 0.3", "—", "98.0", "98.5"],
        ["WuRA [Wu, 2023]", "9K", "—", "—", "70.0", "71.5†", "—"],  # no mnli, so no average
        ["FuRA [Wu, 2023]", "8K", "—", "80.0", "—", "60.0†", "70.0†"],  # rte by another metric than ours
    ]
    assert all(cell.mark == "" for row in beside.published for cell in row)
    assert beside.sources == [
        "[Hu et al., 2022] LoRA, Table 2, https://x.org. One seed. Scores: accuracy.",
        "[Wu, 2023] WuRA, Table 1, https://y.org. Scores: f1 for rte, accuracy otherwise.",
    ]


def test_published_rows_belong_to_all_of_train():
    runs = [run("circulant", "glue/rte", 0, 0.5, fraction=0.02)]
    table = comparison_table(summary_frame(runs_frame(runs)), published=PUBLISHED)
    assert table.published == [] and table.sources == [] and "ublished" not in table.caption


def test_published_rows_in_every_format(beside, tmp_path):
    markdown = to_markdown(beside).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown if line.startswith("|")]
    assert [row[0] for row in rows[2:]] == [
        *("LoRA r=8", "circulant", "*published*", "LoRA r=8 [Hu et al., 2022]", "WuRA [Wu, 2023]"),
        "FuRA [Wu, 2023]",
    ]
    assert len({len(row) for row in rows}) == 1
    assert markdown[-2:] == [f"- {source}" for source in beside.sources]
    latex = to_latex(beside)
    ours, others = latex.split(r"\midrule")[1:]
    assert "circulant &" in ours and "[Hu" not in ours
    assert r"LoRA r=8 [Hu et al., 2022] & 0.3M & --- & 99.0 {\scriptsize $\pm$ 0.3} & ---" in others
    assert r"71.5$^\dagger$" in others and others.index(r"\bottomrule") < others.index("[Wu, 2023] WuRA, Table 1")
    assert "Hu" not in write_table(beside, tmp_path, "table")[2].read_text()  # the CSV is what was measured
    out = io.StringIO()
    print_table(beside, Console(file=out, width=300))
    assert "98.0" in out.getvalue() and "https://y.org" in out.getvalue()


def test_the_papers_claims_and_every_sourced_value_load():
    published = load_published(PAPER)
    claims = [claim.text for claim in published.claims if claim.source == "surm"]
    assert any("5-7% accuracy gains" in text for text in claims) and any("12x reduction" in text for text in claims)
    assert published.sources["surm"].url == "https://arxiv.org/abs/2406.17740"
    assert {result.model for result in published.results} == {"roberta_base", "vit_base"}
    assert all(source.url.startswith("https://") and source.read for source in published.sources.values())


def test_published_averages_agree_with_the_scores_beside_them():
    """A check of the transcription: an average is that of its row, as far as the source's digits go."""
    for result in load_published(PAPER).results:
        if result.average:
            scores = [float(text.split()[0]) for key, text in result.scores.items() if ":" not in key]
            assert np.mean(scores) == pytest.approx(float(result.average.split()[0]), abs=0.051), result.method


ENTRY = {"source": "hu", "model": "m", "method": "LoRA", "parameters": "1", "scores": {"rte": "90.0"}}
SOURCE = {"cite": "Hu", "title": "LoRA", "where": "T", "url": "u", "read": "r", "metrics": {"default": "accuracy"}}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"source": None}, "results.*source"),
        ({"source": "who"}, r"results\[0\]: unknown source 'who': choose from hu"),
        ({"method": None}, "method"),
        ({"score": "1"}, "score"),
        ({"scores": {"rte": "0.9x"}}, r"results\[0\]: rte of LoRA is '0.9x': give percent"),
        ({"scores": {"rte": "900"}}, "rte of LoRA is '900': give percent"),
        ({"average": "about 90"}, "average of LoRA is 'about 90'"),
        ({"metrics": {"rte": ""}}, "rte of LoRA has no metric"),
    ],
)
def test_a_malformed_published_entry_is_one_line(tmp_path, change, message):
    path = tmp_path / "paper.yaml"
    path.write_text(json.dumps({"sources": {"hu": SOURCE}, "results": [ENTRY]}))  # JSON is YAML
    assert load_published(path).results[0].scores == {"rte": "90.0"}
    entry = {key: value for key, value in (ENTRY | change).items() if value is not None}
    path.write_text(json.dumps({"sources": {"hu": SOURCE}, "results": [entry]}))
    with pytest.raises(UserError, match=message) as error:
        load_published(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_published_values_that_are_no_yaml_are_one_line_and_none_are_none(tmp_path):
    path = tmp_path / "paper.yaml"
    path.write_text("sources: {hu: [")
    with pytest.raises(UserError) as error:
        load_published(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    assert load_published(tmp_path / "missing.yaml") == Published()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs LaTeX")
def test_latex_compiles(beside, summary, tmp_path):
    write_table(beside, tmp_path, "wide")
    write_table(comparison_table(summary, ORDER, protocol="é Δ … & 5 % _ ~ ^ \\ {x}"), tmp_path, "plain")
    document = (
        r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}\input{wide}\input{plain}\end{document}"
    )
    (tmp_path / "paper.tex").write_text(document)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout and (tmp_path / "paper.pdf").is_file()


def test_markdown(summary):
    lines = to_markdown(comparison_table(summary, ORDER, protocol="Learning rate: the rule.")).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:6]]
    assert rows[0][0] == "Adapter" and len({len(row) for row in rows}) == 1
    assert rows[2][3:] == ["**82.0 ± 0.0 (n=2)**", "<u>90.5 ± 0.4</u>", "<u>86.2</u>"]
    assert rows[5] == ["linear probe", "0", "—", "<u>50.0 (n=1)</u>", "—", "—"]
    caption, blank, protocol = lines[-3:]
    assert (blank, protocol) == ("", "Protocol. Learning rate: the rule.")
    assert "3 runs failed or stopped early and are not part of any score." in caption
    for part in ("without the task head", "last step", "over 3 seeds", "accuracy for rte, sst2"):
        assert part.lower() in caption.lower()


def test_latex_is_balanced_escaped_booktabs(summary):
    text = to_latex(comparison_table(summary, ORDER))
    opened = re.findall(r"\\begin\{(\w+)\}", text)
    assert opened == ["table", "tabular"] and re.findall(r"\\end\{(\w+)\}", text) == opened[::-1]
    assert re.search(r"\\begin\{tabular\}\{lrrrrr\}\n\\toprule\n", text) and text.count(r"\midrule") == 1
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == 4 and all(line.count(" & ") == 5 and line.endswith(r" \\") for line in body)
    assert r"\textbf{82.0 {\scriptsize $\pm$ 0.0 (n=2)}} & \underline{90.5 {\scriptsize $\pm$ 0.4}}" in body[0]
    assert body[2] == r"adapter\_houlsby & --- & --- & --- & --- & --- \\"
    assert text.isascii() and text.count("{") == text.count("}")
    commands = text.replace(r"\_", "")
    assert "_" not in commands and "%" not in commands.removeprefix("% needs").replace("{!}{%", "")


def test_csv_holds_the_numbers_at_full_precision(summary, tmp_path):
    paths = write_table(comparison_table(summary, ORDER), tmp_path / "new", "table")
    assert [path.name for path in paths] == ["table.md", "table.tex", "table.csv"]
    back = pd.read_csv(paths[2], float_precision="round_trip").set_index(["task", "label"])
    for cell in summary[summary["n"] > 0].itertuples():
        assert back.loc[(cell.task, cell.label), "mean"] == cell.mean
        assert back.loc[(cell.task, cell.label), "adapter_parameters"] == cell.adapter_parameters
    assert len(back) == len(summary) and back.loc[("glue/sst2", "adapter_houlsby"), "failed"] == 1


def test_console_shows_every_cell_even_in_a_narrow_terminal(summary):
    table = comparison_table(summary, ORDER)
    for width in (40, 200):
        out = io.StringIO()
        print_table(table, Console(file=out, width=width))
        lines = out.getvalue().splitlines()
        for row in texts(table):
            assert any(all(cell in line for cell in row) for line in lines), row


def test_pareto_front_by_brute_force():
    generator = np.random.default_rng(0)
    for _ in range(50):
        parameters, scores = generator.integers(1, 6, 8).tolist(), generator.integers(0, 6, 8).tolist()
        points = list(zip(parameters, scores, strict=True))
        best = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)}
        front = [points[i] for i in pareto_front(parameters, scores, METRICS["accuracy"])]
        assert front == sorted(best)


def test_the_front_is_a_staircase():
    """Nothing between two points reaches the second one's score."""
    x, y = staircase([0, 10, 100], [50, 70, 90], 1000)
    assert list(zip(x, y, strict=True)) == [(0, 50), (10, 50), (10, 70), (100, 70), (100, 90), (1000, 90)]


@pytest.mark.parametrize("spread", [0.0, 40.0])
def test_no_marker_covers_another_and_no_error_bar_a_bar(spread):
    generator = np.random.default_rng(0)
    points, spreads = generator.uniform(0, 60, (20, 2)), np.full(20, spread)
    drawn = points + np.outer(moved_aside(points, spreads, marker=9, bar=3, scale=1.0), [1, 0])
    assert (drawn[0] == points[0]).all()
    for i, j in combinations(range(20), 2):
        across, up = np.abs(drawn[i] - drawn[j])
        assert across >= 9 or up >= 9
        assert across >= 3 or up >= 2 * spread


def test_points_that_are_apart_stay_where_they_are():
    assert (moved_aside(np.array([[0.0, 0.0], [30.0, 0.0], [0.0, 30.0]]), np.zeros(3), 9, 3, 1.0) == 0).all()


def written_in(figure_file):
    """The texts of an SVG: matplotlib leaves each as a comment beside its glyphs (not those with a halo)."""
    return re.findall(r"<!-- (.*?) -->", figure_file.read_text())


@pytest.fixture
def placed(monkeypatch):
    """What the panels of the trade-off name, and where."""
    found = []

    def note(axes, x, y, texts, colors, **style):
        found.append(dict(zip(texts, zip(x.round(), y.round(1), strict=True), strict=True)))
        place_labels(axes, x, y, texts, colors, **style)

    monkeypatch.setattr(pareto, "place_labels", note)
    return found


def test_figure_files(summary, tmp_path, placed):
    tasks = ["glue/sst2", "glue/rte"]
    png, svg, pdf = accuracy_against_parameters(summary, looks(), tmp_path / "new" / "figure.png", tasks)
    sst2, rte = placed
    assert sst2 == {"LoRA r=8": (294912, 90.5), "circulant": (36864, 92.0)}
    assert rte.keys() == {"LoRA r=8", "circulant", "linear probe 50.0 (axis cut)"}  # 30 points below, of a span of 4
    assert (rte["LoRA r=8"], rte["circulant"]) == ((294912, 82.0), (36864, 82.0))
    pixels = matplotlib.image.imread(png)
    assert pixels.shape[1] == 1600 and pixels.std() > 0.05
    written = written_in(svg)
    assert {"sst2  (roberta_base)", "rte  (roberta_base)", "accuracy × 100", "Pareto front", *PEFT} - {
        "adapter_houlsby"
    } <= set(written)
    again = accuracy_against_parameters(summary, looks(), tmp_path / "again", tasks)
    assert [file.read_bytes() for file in again] == [file.read_bytes() for file in (png, svg, pdf)]
    assert pdf.read_bytes().startswith(b"%PDF")


def test_an_adapter_without_parameters_is_a_point_that_can_be_on_the_front(tmp_path, placed, monkeypatch):
    fronts = []
    monkeypatch.setattr(pareto, "staircase", lambda x, y, end: fronts.append(list(y)) or staircase(x, y, end))
    for probe, front in ((0.75, [75, 90]), (0.95, [95])):
        scores = {"LoRA r=8": 0.8, "circulant": 0.9, "linear probe": probe}
        summary = summary_frame(runs_frame([run(label, "rte", 0, score) for label, score in scores.items()]))
        accuracy_against_parameters(summary, looks(), tmp_path / "figure")
        x, y = placed[-1]["linear probe"]
        assert 0 < x < PARAMETERS["circulant"] and y == round(100 * probe, 1)
        assert fronts[-1] == pytest.approx(front)


@pytest.mark.parametrize("most", [8192, 600_000])  # less than a decade apart, and more than two
def test_no_tick_lies_on_the_cut_before_no_parameters(tmp_path, monkeypatch, most):
    frame = summary_frame(runs_frame([run(m, "rte", 0, 0.5) for m in ("circulant", "LoRA r=8", "linear probe")]))
    frame["adapter_parameters"] = frame["label"].map({"circulant": 4096, "LoRA r=8": most, "linear probe": 0})
    cuts, axis_cut = [], pareto.axis_cut
    monkeypatch.setattr(pareto, "axis_cut", lambda axes, x: cuts.append((axes, x)) or axis_cut(axes, x))
    accuracy_against_parameters(frame, looks(), tmp_path / "figure")
    ((axes, cut),) = cuts
    ticks = [*axes.get_xticks(), *axes.get_xticks(minor=True)]
    places = [axes.transData.transform((tick, 0.5))[0] for tick in (cut, *ticks)]
    assert len(ticks) > 2 and min(abs(place - places[0]) for place in places[1:]) > 16  # pixels: 7 points
    strokes = axes.lines[0].get_window_extent()
    assert strokes.x0 < places[0] < strokes.x1 and strokes.width < 40


def test_one_point_is_a_figure_and_none_is_an_error(tmp_path):
    frame = summary_frame(runs_frame([run("circulant", "rte", 0, 0.9), run("linear probe", "sst2", 0, 0.5)]))
    _, svg, _ = accuracy_against_parameters(frame, looks(), tmp_path / "figure")
    assert "rte  (roberta_base)" in written_in(svg) and "sst2  (roberta_base)" not in written_in(svg)
    with pytest.raises(UserError, match="no finished run"):
        accuracy_against_parameters(summary_frame(runs_frame([])), looks(), tmp_path / "nothing")
    with pytest.raises(UserError, match="no finished run"):
        learning_curves(curves_frame([]), looks(), tmp_path / "nothing")


def fractions(labels, tasks=("images/a",)):
    settings = [{"fraction": 0.02}, {"fraction": 0.1}, {}, {"shots": 5}]
    scores = (0.5, 0.6, 0.7, 0.1)
    return [
        run(label, task, seed, score + 0.01 * seed, **setting)
        for label in labels
        for task in tasks
        for setting, score in zip(settings, scores, strict=True)
        for seed in (0, 1)
    ]


def test_panels_are_apart_by_setting_and_of_the_reported_split(glue, tmp_path):
    records = [*glue, *fractions(["circulant"])]
    summary = summary_frame(runs_frame(records))
    titles = {f"{title}  (roberta_base)" for title in ("mnli", "rte", "a 2 %", "a 10 %", "a 5 shots", "a")}
    for _, svg, _ in (
        accuracy_against_parameters(summary, looks(), tmp_path / "p"),
        learning_curves(curves_frame(records), looks(), tmp_path / "c"),
    ):
        assert {text for text in written_in(svg) if "roberta_base" in text} == titles


@pytest.fixture
def lines(monkeypatch):
    """The lines that each panel is given, rounded."""
    found = []
    draw_lines = figures.draw_lines

    def note(axes, lines, looks, led, measure):
        found.append({label: [part.round(2).tolist() for part in line] for label, line in lines.items()})
        draw_lines(axes, lines, looks, led, measure)

    monkeypatch.setattr(figures, "draw_lines", note)
    return found


def test_accuracy_against_fraction_draws_what_was_measured(tmp_path, lines):
    records = [*fractions(["circulant"]), run("circulant", "images/b", 0, 0.9)]  # b has one fraction: no panel
    png, svg, _ = accuracy_against_fraction(summary_frame(runs_frame(records)), looks(), tmp_path / "fraction")
    by_hand = [[0.02, 0.1, 1.0], [50.5, 60.5, 70.5], [0.71] * 3]  # deviation 1/√2; shots are no fraction
    assert lines == [{"circulant": by_hand}]
    assert matplotlib.image.imread(png).shape[1] == 1600
    written = written_in(svg)
    assert {"a  (roberta_base)", "circulant", "2 %", "10 %", "100 %"} <= set(written)
    assert "b  (roberta_base)" not in written


def test_fractions_need_several(tmp_path):
    with pytest.raises(UserError, match="no finished run"):
        accuracy_against_fraction(summary_frame(runs_frame([run("circulant", "a", 0, 0.5)])), looks(), tmp_path / "x")


def many(count, monkeypatch):
    labels = [f"method {i}" for i in range(count)]
    monkeypatch.setattr(sys.modules[__name__], "PEFT", dict.fromkeys(labels, PEFT["circulant"]))
    monkeypatch.setattr(sys.modules[__name__], "PARAMETERS", {label: 1000 * 2**i for i, label in enumerate(labels)})
    return labels


def test_many_adapters_are_numbered_as_in_the_table_and_the_legend_names_them(tmp_path, monkeypatch, placed):
    labels = many(20, monkeypatch)
    records = [run(label, "rte", 0, 0.5 + 0.01 * i) for i, label in enumerate(labels[:-1])]
    order = dict(reversed(looks().items()))  # the last one first, and of it there is no run
    _, svg, _ = accuracy_against_parameters(summary_frame(runs_frame(records)), order, tmp_path / "many")
    legend = {text for text in written_in(svg) if "method" in text}
    assert legend == {f"{i}  {label}" for i, label in enumerate(reversed(labels[:-1]), 1)}
    assert placed[0].keys() == {str(i) for i in range(1, 20)}  # no name without its point


@pytest.mark.slow
def test_legends_of_many_lines_fit_the_figure(tmp_path, monkeypatch):
    labels = many(31, monkeypatch)
    legends = []
    save = pareto.save

    def note(figure, path):
        figure.canvas.draw()
        box = figure.legends[0].get_window_extent().bounds
        legends.append((box, figure.bbox.bounds, [axes.get_window_extent().bounds for axes in figure.axes]))
        return save(figure, path)

    monkeypatch.setattr(pareto, "save", note)
    records = fractions(labels, ["images/a", "images/b"])
    accuracy_against_parameters(summary_frame(runs_frame(records)), looks(), tmp_path / "parameters")
    assert len(legends) == 1
    for (left, bottom, width, height), (*_, page, _), panels in legends:
        assert left >= 0 and bottom >= 0 and left + width <= page
        assert all(panel[1] >= bottom + height for panel in panels)


def test_methods_differ_in_colour_or_marker_and_a_family_has_its_hues():
    families = [family for family in SHADES for _ in range(20)]
    found = method_looks({f"method {i}": family for i, family in enumerate(families)})
    assert len({(look.color, look.marker) for look in found.values()}) == 100
    assert all(look.color in SHADES[look.family] and look.marker in MARKERS for look in found.values())


def test_of_many_lines_the_best_of_each_family_is_in_colour():
    """By mean rank over the panels: a is 2nd and 3rd of structured, b 1st and 1st, and c, of another family, last."""
    names = {"a": "structured", "b": "structured", "c": "LoRA", **dict.fromkeys("defg", "bottleneck")}
    scores = pd.DataFrame([[0.8, 0.9, 0.1, 0.5, 0.4, 0.3, 0.2], [0.5, 0.9, 0.1, 0.7, 0.6, 0.3, 0.2]], columns=[*names])
    found = method_looks(names)
    assert leading(scores, found) == ["b", "c", "d"]
    assert leading(scores[["b", "a", "c"]], found) == ["a", "b", "c"]  # few: all of them, as in the table


def test_a_line_far_below_the_others_is_told_instead_of_flattening_them(tmp_path):
    records = [*fractions(["circulant", "LoRA r=8"]), *fractions(["linear probe"])]
    for record in records[-8:]:
        record.scores["reported"]["last"]["accuracy"] *= 0.2
    _, svg, _ = accuracy_against_fraction(summary_frame(runs_frame(records)), looks(), tmp_path / "fraction")
    assert "linear probe: 10.1 to 14.1, below the panel" in written_in(svg)


def test_labels_do_not_overlap():
    figure = Figure(figsize=(5, 4))
    renderer = FigureCanvasAgg(figure).get_renderer()
    axes = figure.subplots()
    x, y = np.linspace(1, 1.4, 8), np.linspace(2, 2.2, 8)
    axes.errorbar(x, y, 0.05, linestyle="", marker="o")
    axes.axis([0.5, 2.5, 1, 3])
    figure.canvas.draw()
    names = [f"method number {i}" for i in range(8)]
    place_labels(axes, x, y, names, ["black"] * 8)
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == names
    for i, box in enumerate(boxes):
        assert axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_learning_curves(runs, tmp_path, lines):
    png, svg, _ = learning_curves(curves_frame(runs), looks(), tmp_path / "curves")
    assert matplotlib.image.imread(png).shape[1] == 1600
    written = set(written_in(svg))
    assert {"circulant", "LoRA r=8", "linear probe", "optimiser steps"} <= written
    assert "adapter_houlsby" not in written
    rte = lines[0]  # half of the score after the first epoch; by hand: 40, 41 and 42, then twice as much
    assert rte["circulant"] == [[1, 2], [41, 82], [1, 2]] and rte["linear probe"] == [[1, 2], [25, 50], [0, 0]]


def test_a_curve_of_a_single_evaluation_is_a_point_that_can_be_seen(tmp_path, monkeypatch):
    markers = []
    plot = Axes.plot
    monkeypatch.setattr(
        Axes, "plot", lambda axes, x, y, **look: markers.append(look["marker"]) or plot(axes, x, y, **look)
    )
    labels = many(8, monkeypatch)
    records = [run(label, "rte", 0, 0.5) for label in labels]
    records = [record.having(history=record.history[-1:]) for record in records]
    learning_curves(curves_frame(records), looks(), tmp_path / "curves")
    assert len(markers) == 8 and "" not in markers and None not in markers


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
