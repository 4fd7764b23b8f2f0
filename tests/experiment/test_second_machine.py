"""The same runs on two machines, of made-up records: differences by hand, and what tuning chose on each."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.made_records import CHOICES, ENVIRONMENT, LR, make_record, tiny_experiment

from surm_bench.errors import UserError
from surm_bench.experiment import Tuning, commands
from surm_bench.experiment.evidence import Evidence
from surm_bench.experiment.jobs import Job, reported_jobs, trial_jobs
from surm_bench.experiment.search import Trial
from surm_bench.experiment.second_machine import second_machine

GPU = ENVIRONMENT | {"device_kind": "a GPU"}
pytestmark = pytest.mark.usefixtures("empty_figures")
TRIALS = {("circulant", 1e-4): 0.5, ("circulant", 1e-2): 0.8, ("lora", 1e-3): 0.7}


def trials(folder: Path, scores: dict[tuple[str, float], float], environment: dict) -> None:
    for (adapter, lr), value in scores.items():
        for job in trial_jobs(tiny_experiment(), "digits", adapter, Trial(((LR, lr),))):
            make_record(job, folder, value, environment=environment)


def reported(folder: Path, scores: dict[tuple[str, int], float], environment: dict) -> None:
    jobs: dict[tuple[str, int], Job] = {
        (job.adapter, job.seed): job for job in Evidence(tiny_experiment(), folder).reported
    }
    for key, value in scores.items():
        make_record(jobs[key], folder, value, environment=environment)


def compared(here: Path, there: Path):
    return second_machine(*(Evidence(tiny_experiment(), folder) for folder in (here, there)))


def test_differences_are_those_of_the_runs_that_both_made(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    trials(here, TRIALS, GPU)
    trials(there, TRIALS | {("circulant", 1e-2): 0.74}, ENVIRONMENT)
    reported(here, {("circulant", 0): 0.82, ("circulant", 1): 0.9, ("lora", 0): 0.6}, GPU)
    reported(there, {("circulant", 0): 0.80, ("lora", 0): 0.9, ("lora", 1): 0.5}, ENVIRONMENT)
    table = compared(here, there)
    tuning, final = table.data.to_dict("records")
    assert (tuning["runs"], tuning["n"], tuning["agree"]) == ("tuning", 3, 3)
    assert tuning["mean"] == pytest.approx(0.02) and tuning["largest"] == pytest.approx(0.06)
    assert (final["runs"], final["n"]) == ("reported", 2)
    assert final["mean"] == pytest.approx((0.02 - 0.3) / 2) and final["largest"] == pytest.approx(0.3)
    assert final["std"] == pytest.approx(0.32 / 2**0.5)
    assert final["agree"] == 1  # of 100 examples two standard errors at 0.6 are 0.098
    assert "made on a GPU and again on cpu." in table.caption
    assert "the same setting for 2 of the 2 pairs" in table.caption


def test_a_device_of_unknown_kind_is_said_to_be_unknown(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    trials(here, TRIALS, ENVIRONMENT | {"device_kind": None})
    trials(there, TRIALS, GPU)
    table = compared(here, there)
    assert "made on a device of unknown kind and again on a GPU." in table.caption
    assert "a device of unknown kind (3), a GPU (3)" in table.caption


def test_another_choice_of_tuning_is_told(tmp_path):
    trials(tmp_path / "here", TRIALS, GPU)
    trials(tmp_path / "there", TRIALS | {("circulant", 1e-4): 0.9}, ENVIRONMENT)
    assert "the same setting for 1 of the 2 pairs" in compared(tmp_path / "here", tmp_path / "there").caption


def test_machines_without_a_common_run_are_refused(tmp_path):
    trials(tmp_path / "here", TRIALS, GPU)
    with pytest.raises(UserError, match="no run of tiny was made on both machines"):
        compared(tmp_path / "here", tmp_path / "there")


def test_a_run_that_diverged_on_one_machine_does_not_agree_and_is_in_no_difference(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, environment in ((here, GPU), (there, ENVIRONMENT)):
        trials(folder, TRIALS, environment)
    reported(here, {("circulant", 0): 0.8, ("circulant", 1): 0.9}, GPU)
    reported(there, {("circulant", 0): 0.8}, ENVIRONMENT)
    (job,) = (job for job in reported_jobs(tiny_experiment(), CHOICES) if job.adapter == "circulant" and job.seed == 1)
    make_record(job, there, status="diverged", environment=ENVIRONMENT)
    final = compared(here, there).data.to_dict("records")[1]
    assert (final["n"], final["agree"], final["mean"]) == (2, 1, 0.0)


def test_the_command_writes_the_table_and_refuses_what_is_no_folder(tmp_path):
    for folder, environment in (("here", GPU), ("there", ENVIRONMENT)):
        trials(tmp_path / folder, TRIALS, environment)
    options = commands.Options(tmp_path / "here", other=tmp_path / "there")
    assert commands.compare(tiny_experiment(), options) == []
    assert "| digits | tuning |" in " ".join((tmp_path / "here" / "second_machine.md").read_text().split())
    with pytest.raises(UserError, match="nowhere is not a folder: name the other machine's results of tiny"):
        commands.compare(tiny_experiment(), commands.Options(tmp_path / "here", other=tmp_path / "nowhere"))


def test_of_many_adapters_without_seeds_each_has_a_row_by_the_label_that_tuning_chose(tmp_path):
    """The rank is a knob, and in the label."""
    knobs = {"default": {LR: [1e-2]}, "lora": {"adapter.peft.r": [1, 2]}}
    experiment = replace(tiny_experiment(), seeds=[], tuning=Tuning(seeds=[100], knobs=knobs))
    for adapter, knob, value, score in (
        *(("circulant", LR, 1e-2, 0.8), ("lora", "adapter.peft.r", 1.0, 0.5), ("lora", "adapter.peft.r", 2.0, 0.6)),
    ):
        (job,) = trial_jobs(experiment, "digits", adapter, Trial(((knob, value),)))
        make_record(job, tmp_path, score)
    assert commands.tables(experiment, commands.Options(tmp_path)) == []
    assert commands.figures(experiment, commands.Options(tmp_path)) == []
    lines = [" ".join(line.split()) for line in (tmp_path / "table.md").read_text().splitlines()[2:4]]
    assert lines == ["| Circulant | 1,024 | **80.0** |", "| LoRA r=2 | 2,048 | 60.0 |"]
    assert (tmp_path / "accuracy_against_parameters.png").exists()
