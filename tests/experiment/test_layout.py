"""Rows of a table whose labels only tuning knows."""

from support.made_records import LR, make_record, tiny_experiment

from surm_bench.experiment import commands
from surm_bench.experiment.evidence import Evidence
from surm_bench.experiment.jobs import reported_jobs
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.tuning import tuned

RANK = "adapter.peft.r"
TRIED = {2.0: 0.5, 4.0: 0.6, 8.0: 0.9, 16.0: 0.1, 7e-3: 0.5}  # value of the knob -> score on rows held out


def test_rows_that_tuning_gives_one_label_keep_their_own_scores(tmp_path):
    """The ranks of ``lora`` grow from 2 and 4 to 8, which is the rank of the other row."""
    experiment = tiny_experiment()
    experiment.adapters = {"lora": ["adapter=lora"], "lora_r8": ["adapter=lora", f"{RANK}=8"]}
    experiment.best_epoch = ["lora_r8"]
    experiment.tuning.knobs = {"lora": {RANK: [2.0, 4.0]}, "lora_r8": {LR: [7e-3]}}
    experiment.tuning.steps = 8 * 4
    while waiting := Runs(tmp_path).waiting(tuned(experiment, Runs(tmp_path)).jobs):
        for job in waiting:
            make_record(job, tmp_path, TRIED[job.setting[0][1]])
    choices = tuned(experiment, Runs(tmp_path)).choices
    assert choices == {("digits", "lora"): ((RANK, 8.0),), ("digits", "lora_r8"): ((LR, 7e-3),)}
    for job in reported_jobs(experiment, choices):
        make_record(job, tmp_path, {"lora": 0.75, "lora_r8": 0.5}[job.adapter])
    assert commands.tables(experiment, commands.Options(tmp_path)) == []
    rows = (tmp_path / "table.md").read_text().splitlines()
    cells = [[cell.strip(" *") for cell in row.split("|")] for row in rows if row.startswith("| LoRA")]
    assert [(row[1], row[-2]) for row in cells] == [
        ("LoRA r=8 (lora)", "75.0 ± 0.0"),
        ("LoRA r=8 (lora_r8)", "<u>50.0 ± 0.0</u>"),
    ]
    assert Evidence(experiment, tmp_path).best_epoch == ["LoRA r=8 (lora_r8)"]
    assert commands.figures(experiment, commands.Options(tmp_path)) == []
