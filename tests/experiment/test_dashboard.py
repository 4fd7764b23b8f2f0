"""A dashboard: its workspace as the JSON that saving sends, and the run that has the tables, both without a network."""

import json
import sys
from collections.abc import Iterator

import pytest
from support.made_records import CHOICES, make_record, make_trials, tiny_experiment
from support.wandb_file import items, records

from surm_bench.config import TrackingConfig
from surm_bench.errors import UserError
from surm_bench.experiment import commands
from surm_bench.experiment.dashboard import make_dashboard
from surm_bench.experiment.evidence import Evidence
from surm_bench.experiment.jobs import reported_jobs, trial_jobs
from surm_bench.experiment.search import Trial
from surm_bench.report.looks import SHADES
from surm_bench.tracking import workspace

TRACKING = TrackingConfig("wandb", "surm-bench", "me")
SCORE = "score/vit_digits/digits/rows_100/eval_rows_40"
OVER_SEEDS = {"groupAgg": "mean", "groupArea": "stddev"}


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    pytest.importorskip("wandb_workspaces")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


@pytest.fixture
def evidence(tmp_path) -> Evidence:
    folder = tmp_path / "tiny"
    make_trials(folder)
    for job in reported_jobs(tiny_experiment(), CHOICES):
        make_record(job, folder)
    return Evidence(tiny_experiment(), folder)


def made(section: dict) -> Iterator[tuple[str, dict]]:
    for panel in section["panels"]:
        yield panel["viewType"], panel["config"]


def test_the_workspace_shows_the_table_the_scores_and_what_they_cost(tmp_path, evidence, capsys):
    (tmp_path / "tiny" / "table.md").write_text("| Adapter |\n")
    (tmp_path / "tiny" / "curves.png").write_bytes(PNG)
    (tmp_path / "tiny" / "records.jsonl").write_text("")
    make_dashboard(evidence, tmp_path / "out", TRACKING)
    section = json.loads((tmp_path / "out" / "tiny" / "dashboard.json").read_text())["section"]
    assert {panels["name"]: list(made(panels)) for panels in section["panelBankConfig"]["sections"]} == {
        "Table": [("Markdown Panel", {"value": "| Adapter |\n"})],
        "Score against adapter parameters": [
            (
                "Scatter Plot",
                {
                    "chartTitle": "digits n=100 (vit_digits)",
                    "xAxis": "summary:parameters/adapter",
                    "xAxisLogScale": True,
                    "yAxis": f"summary:{SCORE}",
                },
            )
        ],
        "Score by task": [bars("digits n=100 (vit_digits)", SCORE)],
        "Learning curves": [curves("digits n=100 (vit_digits)", SCORE)],
        "Losses": [curves(name, name) for name in ("train/loss", "train/grad_norm", "eval/reported/loss")],
        "Time and memory": [bars(name, name) for name in ("time/step_ms", "time/train_seconds", "memory/peak_bytes")],
    }
    (runs,) = section["runSets"]
    filters = [(f["key"]["section"], f["key"]["name"], f["op"], f["value"]) for f in runs["filters"]["filters"]]
    assert filters == [("run", "tags", "IN", ["tiny"]), ("run", "jobType", "=", "train")]
    assert runs["grouping"] == [{"section": "config", "name": "adapter.value.label"}]
    assert runs["runFeed"]["columnOrder"][-1] == "summary:record"
    assert runs["runFeed"]["columnOrder"][:2] == ["run:displayName", f"summary:{SCORE}"]
    assert sorted(section["customRunColors"].values()) == sorted([SHADES["structured"][0], SHADES["LoRA"][0]])

    (file,) = (tmp_path / "tiny" / "wandb").glob("offline-run-*-report-tiny/run-report-tiny.wandb")
    sent = list(records(file))
    (about,) = [record.run for record in sent if record.WhichOneof("record_type") == "run"]
    assert (about.job_type, about.display_name, list(about.tags)) == ("report", "tiny: tables and figures", ["tiny"])
    (artifact,) = [record.artifact for record in sent if record.artifact.name == "tiny"]
    assert artifact.type == "results"
    assert {entry.path for entry in artifact.manifest.contents} == {"curves.png", "table.md"}
    (history,) = [record.history for record in sent if record.WhichOneof("record_type") == "history"]
    assert any(name.startswith("curves") for name in items(history.item))
    assert "wandb sync" in capsys.readouterr().err


def bars(title: str, name: str) -> tuple[str, dict]:
    return "Bar Chart", {
        **{"chartTitle": title, "metrics": [name], "vertical": False, "limit": 1000, "barLimit": 2, **OVER_SEEDS}
    }


def curves(title: str, name: str) -> tuple[str, dict]:
    return "Run History Line Plot", {
        **{"chartTitle": title, "metrics": [name], "xAxis": "step", "xAxisTitle": "optimiser steps", "limit": 2},
        **OVER_SEEDS,
    }


def test_the_call_that_makes_the_last_run_makes_the_dashboard_once(tmp_path, monkeypatch, capsys):
    folder, outputs = tmp_path / "new", tmp_path / "out"
    make_trials(folder)
    made = []

    def execute(jobs, *_):
        made.extend(make_record(job, folder) for job in jobs)
        return []

    monkeypatch.setattr(commands, "_execute", execute)
    options = commands.Options(folder, outputs, tracking="wandb")
    assert commands.run(tiny_experiment(), options) == []
    workspaces = list(outputs.rglob("dashboard.json"))
    assert len(made) == 4 and [file.parent.name for file in workspaces] == ["tiny"]
    assert f"the workspace was written to {workspaces[0]}" in capsys.readouterr().out
    workspaces[0].unlink()
    assert commands.run(tiny_experiment(), options) == [] and not list(outputs.rglob("dashboard.json"))


def test_while_a_pair_is_not_tuned_there_is_no_dashboard(tmp_path, monkeypatch):
    """All runs of the tuned pair are made, but those of the other pair are still to come."""
    folder, tiny = tmp_path / "new", tiny_experiment()
    for job in trial_jobs(tiny, "digits", "lora", Trial(CHOICES["digits", "lora"])):
        make_record(job, folder)
    monkeypatch.setattr(commands, "_execute", lambda jobs, *_: [make_record(job, folder) for job in jobs] and [])
    (problem,) = commands.run(tiny, commands.Options(folder, tmp_path / "out", tracking="wandb"))
    assert problem.startswith("not tuned yet: circulant on digits") and not list(tmp_path.rglob("dashboard.json"))


def test_without_a_table_there_is_nothing_to_show(tmp_path, evidence):
    with pytest.raises(UserError, match="tiny has no table in .*: make its runs first"):
        make_dashboard(evidence, tmp_path / "out", TRACKING)


def test_what_refuses_the_workspace_is_one_line(monkeypatch):
    class Refusing:
        entity = "me"

        def save(self):
            raise ConnectionError("no route to host\nlong story")

    with pytest.raises(UserError, match="W&B refused the workspace: no route to host$"):
        workspace.save(Refusing())


def test_without_the_package_the_error_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(UserError, match=r"pip install 'surm-bench\[wandb\]'"):
        workspace.check_workspaces()


PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8ffff3f0005fe02fe0def46"
    "b80000000049454e44ae426082"
)
