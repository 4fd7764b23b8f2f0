"""Experiments: what is enumerated, how settings are chosen, and that stopping, failing and going on lose nothing."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from itertools import combinations, product
from math import log10

import pandas as pd
import pytest
from omegaconf import OmegaConf
from PIL import Image
from support.figures import drawn_as
from support.made_records import (
    CHOICES,
    ENVIRONMENT,
    LR,
    make_record,
    refuse_downloads,
    tiny_experiment,
    undeclared_experiment,
    without_training,
)

from surm_bench import records
from surm_bench.command.main import main
from surm_bench.config import composition
from surm_bench.config.composition import compose
from surm_bench.config.identity import identity, run_id
from surm_bench.errors import UserError
from surm_bench.experiment import Experiment, Tuning, commands, contents, files, launching, load_experiment
from surm_bench.experiment.ahead import runs_left
from surm_bench.experiment.calibration import CALIBRATION, short_runs
from surm_bench.experiment.commands import Options
from surm_bench.experiment.deadline import TIME_UP
from surm_bench.experiment.estimates import Estimates
from surm_bench.experiment.evidence import Evidence
from surm_bench.experiment.files import experiment_files
from surm_bench.experiment.jobs import Job, pair, pairs, reported_jobs, resolved, trial_jobs
from surm_bench.experiment.launching import launcher_of
from surm_bench.experiment.left_out import leave_out
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.running import run_jobs, run_one
from surm_bench.experiment.search import Trial
from surm_bench.experiment.tuning import Tuned, tuned
from surm_bench.experiment.tuning_caption import tuning_note
from surm_bench.models.weights import EMBEDDED
from surm_bench.run import runner
from surm_bench.system.installation import config_dir

pytestmark = pytest.mark.usefixtures("empty_figures")
FORMATS = (".md", ".tex", ".csv", ".png", ".svg", ".pdf")
MINIMAL = {
    "tasks": {"digits": ["task=digits"]},
    "adapters": {"lora": ["adapter=lora"]},
    "seeds": [0, 1],
    "tuning": {"seeds": [2], "knobs": {"default": {LR: [0.1]}}},
}
ALPHA, RANK = "adapter.peft.lora_alpha", "adapter.peft.r"


@pytest.fixture
def tiny() -> Experiment:
    return tiny_experiment()


@pytest.fixture
def options(tmp_path) -> Options:
    return Options(tmp_path / "results" / "tiny", tmp_path / "outputs")


@pytest.fixture
def experiment_file(tmp_path, monkeypatch):
    """Writes an experiment file where load_experiment looks for it."""
    (tmp_path / "experiment").mkdir()
    monkeypatch.setattr(files, "config_dirs", lambda: [tmp_path])

    def write(**fields) -> None:
        (tmp_path / "experiment" / "some.yaml").write_text(json.dumps(MINIMAL | fields))  # JSON is YAML

    return write


def state_of(experiment, folder):
    return tuned(experiment, Runs(folder))


def ids(jobs, folder) -> list[str]:
    runs = Runs(folder)
    return [runs.id(job) for job in jobs]


def best_at(rate):
    """A score that falls with the distance from the best rate, in decades; the same for all adapters and seeds."""
    return lambda config: 0.9 - 0.1 * abs(log10(config.optimizer.lr / rate))


@pytest.mark.parametrize("name", experiment_files())
def test_every_experiment_enumerates_and_composes(name):
    """Each file against its own lists: the product of them, no row or column refused, none twice."""
    raw = OmegaConf.to_container(OmegaConf.load(config_dir() / "experiment" / f"{name}.yaml"))
    experiment, problems = load_experiment(name)
    assert problems == []
    task, adapter = next(iter(raw["tasks"])), max(raw["adapters"], key=lambda key: len(experiment.settings(key)))
    choices = {key: experiment.settings(key[1])[0] for key in product(raw["tasks"], raw["adapters"])}
    reported = reported_jobs(experiment, choices)  # none where tuning is all there is
    assert len(set(reported)) == len(raw["tasks"]) * len(raw["adapters"]) * len(raw["seeds"])
    assert not set(raw["seeds"]) & set(raw["tuning"]["seeds"])
    known = raw["tuning"]["knobs"]
    for key in raw["adapters"]:
        values = known.get(key, known.get("default")).values()
        settings = experiment.settings(key)
        expected = list(product(*values))
        if raw["tuning"].get("finalists") and len(known.get(key, known.get("default"))) == 2:
            rates, (head, *others) = values
            expected = [(rate, head) for rate in rates] + [(rates[len(rates) // 2], other) for other in others]
        assert sorted(tuple(value for _, value in setting) for setting in settings) == sorted(expected)
    trial = Trial(experiment.settings(adapter)[0], short=bool(raw["tuning"].get("survivors")))
    trials = trial_jobs(experiment, task, adapter, trial)
    assert [job.seed for job in trials] == raw["tuning"]["seeds"]
    assert all(resolved(job).task.validation == "tuning" for job in trials), "the reported split is not seen"
    rows = [[resolved(pair(experiment, task, key))] for key in raw["adapters"]]
    first = [pair(experiment, key, adapter) for key in raw["tasks"]]
    columns = [[resolved(replace(job, setting=s)) for s in experiment.settings(adapter)] for job in first]
    assert len({config.adapter.label for (config,) in rows}) == len(rows), "two rows of one name"
    assert all(config.task.validation != "tuning" for configs in rows + columns for config in configs)
    for several in (rows, columns):
        runs = [[identity(with_some_digest(config)) for config in configs] for configs in several]
        assert not any(one == other for one, other in combinations(runs, 2)), "two that are the same runs"


def with_some_digest(config):
    """Content that is not declared counts by its name."""
    groups = (config.model, config.task)
    return config.having(**{group.group: {"digest": group.digest or group.name} for group in groups})


def test_a_job_is_its_command_line(tiny):
    """The configuration put together from parts, against Hydra on the whole command line; what a task, a row and its
    knobs say goes before what is said for all, and whole numbers are whole."""
    tiny.overrides += ["optimizer=surm_glue", "optimizer.weight_decay=0.125", "trainer.batch_size=16"]
    tiny.tasks["digits"] += ["trainer.batch_size=64", "trainer.max_steps=5"]
    tiny.adapters["lora"] += ["optimizer=sgd", "optimizer.momentum=0.5", "optimizer.betas=[0.8,0.9]"]
    tiny.tuning.knobs["lora"] = {LR: [1e-5, 1.0], RANK: [2.0, 4.0], "optimizer.head_lr": [0.5]}
    setting = tiny.settings("lora")[-1]
    jobs = [trial_jobs(tiny, "digits", adapter, Trial(tiny.settings(adapter)[0]))[0] for adapter in tiny.adapters]
    jobs += reported_jobs(tiny, {("digits", "lora"): setting})
    for job in jobs:
        whole = OmegaConf.to_container(compose(job.arguments()), resolve=True)
        assert resolved(job).document() == whole
    circulant, lora = resolved(jobs[0]), resolved(jobs[-1])
    assert (circulant.optimizer.name, circulant.optimizer.weight_decay) == ("adamw", 0.125)
    assert (circulant.trainer.batch_size, circulant.trainer.max_steps) == (64, 5)
    wanted = {"name": "sgd", "lr": 1.0, "head_lr": 0.5, "momentum": 0.5, "betas": [0.8, 0.9], "weight_decay": 0.125}
    assert {key: getattr(lora.optimizer, key) for key in wanted} == wanted
    assert isinstance(lora.adapter.peft["r"], int) and lora.adapter.label == "LoRA r=4"


def test_tuning_takes_the_best_on_rows_held_out(tiny, options):
    """Trained in earnest: nothing of the reported split is seen, and no adapter is kept."""
    assert commands.tune(tiny, options) == []
    found = records.Archive(options.folder).records()
    assert len(found) == 3 and {record.seed for record in found} == {100}
    assert all(record.scores.keys() == {"validation"} for record in found)
    assert not list(options.folder.glob("runs/*/adapter"))
    scores = {
        record.config.optimizer.lr: record.scores["validation"]["last"]["accuracy"]
        for record in found
        if record.config.adapter.name == "circulant"
    }
    state = state_of(tiny, options.folder)
    assert state.choices == {
        ("digits", "circulant"): ((LR, max(scores, key=scores.get)),),
        ("digits", "lora"): ((LR, 1e-3),),
    }
    assert dict(state.scores.groupby("adapter")["chosen"].sum()) == {"circulant": 1, "lora": 1}


def test_the_state_of_tuning_comes_from_records_alone(tiny, tmp_path):
    """By hand, of two tuning seeds: 1e-4 has means 0.5, 1e-2 has 0.6, and its second seed is still missing at first."""
    tiny.tuning.seeds = [100, 101]
    del tiny.adapters["lora"]
    low, high = (trial_jobs(tiny, "digits", "circulant", Trial(setting)) for setting in tiny.settings("circulant"))
    for job, score in ((low[0], 0.7), (low[1], 0.3), (high[0], 0.5)):
        make_record(job, tmp_path, score)
    state = state_of(tiny, tmp_path)
    assert state.jobs == low + high and state.choices == {} == state.problems
    assert state.scores[["setting", "seed", "score"]].to_numpy().tolist() == [
        ["optimizer.lr=0.0001", 100, 0.7],
        ["optimizer.lr=0.0001", 101, 0.3],
    ]
    make_record(high[1], tmp_path, 0.7)
    state = state_of(tiny, tmp_path)
    assert state.choices == {("digits", "circulant"): ((LR, 1e-2),)}
    assert state.at_edge == {("digits", "circulant"): (LR,)}
    assert state.scores["chosen"].tolist() == [False, False, True, True]


def test_tuning_widens_while_steps_are_left_and_goes_on_after_being_stopped(tiny, options, monkeypatch, capsys):
    """Circulant is best at 1.0, two widenings above; the process is stopped twice, and no run is made again."""
    tiny.tuning.steps = 8 * 5
    tiny.tuning.knobs["default"] = {LR: [1e-2, 1e-1]}
    surface, stops = best_at(1.0), [4, 2]

    def stopped(config):
        if stops and len(trained) == stops[-1]:
            stops.pop()
            trained.pop()
            raise KeyboardInterrupt
        return surface(config)

    trained = without_training(monkeypatch, stopped)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            commands.tune(tiny, options)
    assert commands.tune(tiny, options) == []
    circulant = [rate for name, _, rate in trained if name == "circulant"]
    assert sorted(circulant) == [1e-2, 1e-1, 1.0, 10.0] and len(trained) == 5
    assert state_of(tiny, options.folder).choices["digits", "circulant"] == ((LR, 1.0),)
    assert state_of(tiny, options.folder).at_edge["digits", "circulant"] == ()
    assert "circulant optimizer.lr=1" in " ".join(capsys.readouterr().out.split())


def test_survivors_are_tried_for_all_the_steps(tiny, options, monkeypatch):
    """A third of eight steps is three, rounded up; the schedule is of that length, as of any run's."""
    tiny.tuning.survivors = 2
    tiny.tuning.knobs["default"] = {LR: [1e-4, 1e-3, 1e-2]}
    del tiny.adapters["lora"]
    lengths = []
    surface = best_at(1e-3)
    without_training(monkeypatch, lambda config: lengths.append(config.trainer.max_steps) or surface(config))
    assert commands.tune(tiny, options) == []
    assert lengths == [3, 3, 3, 8, 8]
    state = state_of(tiny, options.folder)
    assert state.scores["steps"].tolist() == lengths and state.choices["digits", "circulant"] == ((LR, 1e-3),)


def test_runs_of_full_length_are_as_many_for_every_adapter(tiny, options, monkeypatch, capsys):
    """Circulant's range grows by one rate: LoRA gets one more too. Both take the best two on a second tuning seed."""
    tiny.tuning.seeds, tiny.tuning.finalists = [100, 101], 2
    tiny.tuning.knobs = {"circulant": {LR: [1e-3, 1e-2, 1e-1]}, "lora": {LR: [1e-2, 1e-1, 1.0]}}
    trained = without_training(monkeypatch, best_at(0.15))
    planned = runs_left(Evidence(tiny, options.folder))
    assert len(planned.waiting) == 6 and len(planned.survivors) == 4
    assert commands.tune(tiny, options) == []
    rates = {name: [(seed, rate) for found, seed, rate in trained if found == name] for name in ("circulant", "lora")}
    assert sorted(rates["circulant"]) == [(100, 1e-3), (100, 1e-2), (100, 1e-1), (100, 1.0), (101, 1e-1), (101, 1.0)]
    halfway = 0.316  # √(0.1 · 1), for 1 is nearer to 0.15 than 0.01 is
    assert sorted(rates["lora"]) == [(100, 1e-2), (100, 1e-1), (100, halfway), (100, 1.0), (101, 1e-1), (101, halfway)]
    state = state_of(tiny, options.folder)
    assert state.choices == {("digits", "circulant"): ((LR, 0.1),), ("digits", "lora"): ((LR, 0.1),)}
    assert state.scores["chosen"].sum() == 4 and len(state.scores) == len(trained) == 12
    assert "Tuning runs of each adapter on each task: 6." in tuning_note(tiny, state)
    assert not runs_left(Evidence(tiny, options.folder)).survivors


def test_a_setting_that_diverges_is_not_chosen_and_is_no_problem(tiny, options, monkeypatch):
    trained = without_training(monkeypatch, lambda config: None if config.optimizer.lr > 5e-3 else 0.3)
    assert commands.tune(tiny, options) == []
    assert state_of(tiny, options.folder).choices["digits", "circulant"] == ((LR, 1e-4),)
    assert commands.tune(tiny, options) == [] and len(trained) == 3, "it is an outcome, not to be tried again"


def test_where_every_setting_diverges_the_pair_is_named_and_the_rest_is_run(tiny, options, monkeypatch):
    without_training(monkeypatch, lambda config: None if config.adapter.name == "circulant" else 0.3)
    output = "no setting of circulant on digits finished on every tuning seed"
    assert commands.tune(tiny, options) == [output]
    assert commands.run(tiny, options) == [output], "more tuning would not help"
    assert pd.read_csv(options.folder / "runs.csv")["label"].tolist() == ["LoRA r=1"] * 2
    assert f"Tuning could not choose: {output}." in (options.folder / "table.md").read_text()


def test_a_failed_trial_is_tried_three_times_and_then_given_up(tiny, options, monkeypatch, capsys):
    def surface(config):
        if config.optimizer.lr == 1e-2:
            raise RuntimeError("out of memory")
        return 0.3

    trained = without_training(monkeypatch, surface)
    for attempt in (1, 2, 3):
        (problem,) = commands.tune(tiny, options)
        assert "lr=0.01: out of memory" in problem and trained.count(("circulant", 100, 1e-2)) == attempt
    assert commands.tune(tiny, options) == [] and trained.count(("circulant", 100, 1e-2)) == 3
    assert state_of(tiny, options.folder).choices["digits", "circulant"] == ((LR, 1e-4),)
    capsys.readouterr()
    commands.plan(tiny, options)
    assert "tiny, tuning: 2 done, 0 missing, 0 failed, 1 given up of 3 runs" in capsys.readouterr().out


def test_no_round_begins_when_the_time_is_up(tiny, options, monkeypatch):
    """A first run is made before the time is up; two runs are left."""
    rounds = []

    def execute(jobs, *_):
        rounds.append(len(jobs))
        make_record(jobs[0], options.folder)
        return [TIME_UP]

    monkeypatch.setattr(commands, "_execute", execute)
    assert commands.tune(tiny, options) == [TIME_UP] and rounds == [3]


def test_one_failed_trial_does_not_end_the_search_of_others(tiny, options, monkeypatch):
    """In one call: LoRA goes on to its full trial though a short one of circulant fails in the first round."""
    tiny.tuning.survivors, tiny.tuning.knobs = 1, {"default": {LR: [1e-3, 1e-2]}}

    def surface(config):
        if config.adapter.name == "circulant":
            raise RuntimeError("out of memory")
        return 0.3

    trained = without_training(monkeypatch, surface)
    problems = commands.tune(tiny, options)
    assert len(problems) == 2 and all("out of memory" in problem for problem in problems)
    assert [adapter for adapter, *_ in trained].count("lora") == 3
    assert state_of(tiny, options.folder).choices == {("digits", "lora"): ((LR, 1e-3),)}


def test_figures_of_a_method_without_parameters_alone_are_not_drawn_and_other_failures_are_told(
    tiny, options, monkeypatch
):
    tiny.adapters = {"linear_probe": ["adapter=linear_probe"], "lora": tiny.adapters["lora"]}
    tiny.tuning.knobs = {"default": {LR: [1e-3]}}
    tune_at(tiny, options.folder, LR, 1e-3)

    def surface(config):
        if config.adapter.name == "lora":
            raise RuntimeError("out of memory")
        return 0.3

    without_training(monkeypatch, surface)
    problems = commands.run(tiny, options)
    assert len(problems) == 2 and all("out of memory" in problem for problem in problems)
    assert (options.folder / "learning_curves.png").is_file()
    assert not (options.folder / "accuracy_against_parameters.png").exists()


def tune_at(experiment, folder, knob, value):
    for adapter in experiment.adapters:
        for job in trial_jobs(experiment, "digits", adapter, Trial(((knob, value),))):
            make_record(job, folder, 0.5)


def test_labels_that_a_knob_changes_are_those_of_each_task(tiny, options):
    """LoRA of rank 1 on one task and of rank 2 on the other: a row each."""
    rank = "adapter.peft.r"
    tiny.tasks["fewer"] = [*tiny.tasks["digits"], "task.max_train_samples=160"]
    tiny.adapters = {"lora": ["adapter=lora"]}
    tiny.tuning.knobs, tiny.seeds = {"default": {rank: [1.0, 2.0]}}, []
    for task, scores in (("digits", (0.6, 0.4)), ("fewer", (0.3, 0.5))):
        for value, score in zip((1.0, 2.0), scores, strict=True):
            for job in trial_jobs(tiny, task, "lora", Trial(((rank, value),))):
                make_record(job, options.folder, score)
    laid_out = Evidence(tiny, options.folder).layout
    assert laid_out.labels == {("digits", "lora"): "LoRA r=1", ("fewer", "lora"): "LoRA r=2"}
    assert list(laid_out.families) == ["LoRA r=1", "LoRA r=2"]


def test_labels_that_could_collide_once_tuned_are_refused(tiny):
    tiny.adapters = {"fixed": ["adapter=lora", "adapter.peft.r=2"], "tuned": ["adapter=lora"]}
    tiny.tuning.knobs = {"default": {LR: [1e-3]}, "tuned": {"adapter.peft.r": [1.0, 2.0]}}
    assert leave_out(tiny) == [
        "tuned left out: fixed has its label 'LoRA r=2', too: give one of the two another adapter.label"
    ]


def test_where_all_are_chosen_at_the_same_edge_the_note_says_so_once():
    state = Tuned(at_edge={("digits", "lora"): (LR,), ("digits", "circulant"): (LR,)})
    assert "The chosen value is at the end of its range for all adapters (lr)." in tuning_note(tiny_experiment(), state)
    state.at_edge["digits", "lora"] = ()
    assert "The chosen value is at the end of its range for circulant on digits (lr)." in tuning_note(
        tiny_experiment(), state
    )


def tune_by_hand(tiny, folder):
    """Records of tuning that choose CHOICES."""
    for adapter in tiny.adapters:
        for setting in tiny.settings(adapter):
            for job in trial_jobs(tiny, "digits", adapter, Trial(setting)):
                make_record(job, folder, 0.5 if setting == CHOICES["digits", adapter] else 0.4)


def test_run_report_and_go_on(tiny, options, monkeypatch):
    """Trained in earnest."""
    tune_by_hand(tiny, options.folder)
    train, trained = runner.train_and_record, []
    monkeypatch.setattr(runner, "train_and_record", lambda *given: trained.append(given[0].seed) or train(*given))
    assert run_jobs(reported_jobs(tiny, CHOICES)[:1], options.folder, "tiny") == []
    assert commands.run(tiny, options) == []
    assert commands.run(tiny, options) == []
    assert trained == [0, 0, 1, 1], "each once, and seed by seed"
    runs = pd.read_csv(options.folder / "runs.csv")
    table = pd.read_csv(options.folder / "table.csv").set_index("label")
    assert len(runs) == 4
    for label, scores in runs.groupby("label")["score"]:
        assert table.loc[label, "mean"] == pytest.approx(scores.mean())
        assert table.loc[label, "n"] == 2
    written = {path.name for path in options.folder.iterdir() if path.is_file()}
    assert written >= {"table.md", "table.tex", "table.csv", "accuracy_against_parameters.png", "learning_curves.png"}
    caption = (options.folder / "table.md").read_text()
    assert "tuning seeds that are not reported" in caption and "Tuning seeds: 100." in caption
    assert "First values of lora: lr 0.001. First values of all other adapters: lr 0.0001, 0.01." in caption
    assert "The chosen value is at the end of its range for circulant on digits (lr)." in caption
    for folder in options.folder.glob("runs/*/adapter"):
        assert records.read_file(folder.parent / "record.json").command.startswith("python -m surm_bench ")


def test_a_failed_run_does_not_stop_the_rest_and_is_in_no_mean(tiny, options, monkeypatch, capsys):
    tune_by_hand(tiny, options.folder)

    def surface(config):
        if config.adapter.name == "circulant" and config.seed == 1:
            raise RuntimeError("out of memory")
        return 0.5 + 0.1 * config.seed

    trained = without_training(monkeypatch, surface)
    (failure,) = commands.run(tiny, options)
    assert failure.startswith("circulant on digits, seed 1, lr=0.01: ") and "out of memory" in failure
    assert len(trained) == 4
    assert pd.read_csv(options.folder / "runs.csv")["status"].tolist() == ["success", "success", "success", "failed"]
    table = pd.read_csv(options.folder / "table.csv").set_index("label")
    assert table.loc["Circulant", ["n", "mean", "failed"]].tolist() == [1, 0.5, 1]
    capsys.readouterr()
    commands.plan(tiny, options)
    output = " ".join(capsys.readouterr().out.split())
    assert "1/2!" in output and "RuntimeError: out of memory" in output
    assert "tiny, reported: 3 done, 0 missing, 1 failed of 4 runs; about 0 h 00 min left" in output
    assert "tiny, tuning: 3 done, 0 missing, 0 failed of 3 runs; nothing left to run" in output
    for _ in range(3):
        (failure,) = run_jobs(reported_jobs(tiny, CHOICES), options.folder, "tiny")
    assert len(trained) == 6 and "failed 3 times" in failure and "give rerun=true to try it again" in failure


def test_a_diverged_run_takes_the_mean_of_its_setting(tiny, options, monkeypatch):
    tune_by_hand(tiny, options.folder)
    trained = without_training(
        monkeypatch, lambda config: None if (config.adapter.name, config.seed) == ("lora", 1) else 0.5
    )
    assert commands.run(tiny, options) == [] == commands.run(tiny, options)
    assert len(trained) == 4
    text = (options.folder / "table.md").read_text()
    assert "1 of 2 diverged" in text and "A setting that diverged on a seed has no mean." in text
    assert "0 failed" not in text and "failed" not in text


@pytest.mark.parametrize("command", [commands.tune, commands.run])
def test_a_run_that_another_process_trains_is_left_to_it_and_the_rest_goes_on(
    tiny, options, monkeypatch, capsys, command
):
    if command is commands.run:
        tune_by_hand(tiny, options.folder)
        held, *others = reported_jobs(tiny, CHOICES)
    else:
        settings = [(adapter, setting) for adapter in tiny.adapters for setting in tiny.settings(adapter)]
        held, *others = (job for a, s in settings for job in trial_jobs(tiny, "digits", a, Trial(s)))
    trained = without_training(monkeypatch, lambda config: 0.5)
    with records.locked(records.run_folder(options.folder, *ids([held], options.folder))):
        problems = command(tiny, options)
    assert len(trained) == len(others)
    assert "skipped: process" in capsys.readouterr().out
    output = ["other processes make the last 1 runs: tune again when they are done"]
    assert problems == (output if command is commands.tune else [])
    assert command(tiny, options) == [] and len(trained) == len(others) + 1


def test_a_launched_run_looks_in_the_users_folders(tiny, options, tmp_path, monkeypatch):
    work, found = [], []
    monkeypatch.setattr(composition, "_added", [tmp_path])
    monkeypatch.setattr(launching, "_joblib", lambda _: lambda run, given: [work.append(one) for one in given])
    run_jobs(reported_jobs(tiny, CHOICES)[:1], options.folder, "tiny", launcher="joblib")
    monkeypatch.setattr(composition, "_added", [])  # as in a new process
    monkeypatch.setattr(runner, "run", lambda *_: found.extend(composition.config_dirs()[1:]))
    assert run_one(*work[0]) is None and found == [tmp_path]


def test_a_launcher_gives_the_same_runs(tiny, options, tmp_path, monkeypatch):
    """Trained in earnest, against this process: the same id and scores; what is done is not launched again; an unknown
    launcher is refused."""
    job = reported_jobs(tiny, CHOICES)[0]
    assert run_jobs([job], tmp_path / "here", "tiny") == []
    broken = replace(job, overrides=(*job.overrides, "task.max_train_samples=7000"))
    how = {"launcher": "joblib", "options": ["hydra.launcher.n_jobs=1"]}
    (failure,) = run_jobs([job, broken], options.folder, "tiny", **how)
    assert "task.max_train_samples=7000 is outside" in failure
    monkeypatch.setattr(launching, "_joblib", lambda _: lambda *_: pytest.fail("launched"))
    assert run_jobs([job], options.folder, "tiny", **how) == []
    here, there = (Runs(folder).result(job) for folder in (tmp_path / "here", options.folder))
    assert (there.run_id, there.scores) == (here.run_id, here.scores)
    with pytest.raises(UserError, match="unknown launcher 'slurm': choose from joblib, submitit_local"):
        run_jobs([broken], options.folder, "tiny", launcher="slurm")


@pytest.mark.parametrize("launcher", [None, "joblib"])
def test_a_run_that_was_given_up_is_told_and_not_tried(tiny, options, monkeypatch, launcher):
    job, other = reported_jobs(tiny, CHOICES)[:2]
    make_record(job, options.folder, status="failed", attempts=3)
    trained = without_training(monkeypatch, lambda config: 0.5)
    (failure,) = run_jobs([job, other], options.folder, "tiny", launcher=launcher, options=["n_jobs=1"])
    assert failure.startswith(f"{job.title}: ") and "give rerun=true to try it again" in failure
    assert [seed for _, seed, _ in trained] == [other.seed]


@pytest.mark.parametrize(
    ("launcher", "option", "message"),
    [
        ("joblib", "n_job=2", "unknown option of joblib 'n_job': choose from .*n_jobs"),
        ("joblib", "n_jobs=0", "n_jobs=0 is not possible: give a number of runs at once, or -1"),
        ("joblib", "n_jobs=two", "n_jobs=two is not possible: give a number of runs at once, or -1"),
        ("joblib", "backend=threads", r"launcher joblib with \['backend=threads'\]: Invalid backend"),
        ("submitit_local", "n_jobs=2", "launcher submitit_local with .*n_jobs"),
    ],
)
def test_an_option_that_a_launcher_does_not_take(tmp_path, launcher, option, message):
    with pytest.raises(UserError, match=message) as error:
        launcher_of(launcher, [option], tmp_path)
    assert "\n" not in str(error.value)


def test_a_job_that_the_cluster_kills_is_a_line_and_the_others_keep_theirs(tmp_path):
    def die_or_return(line: str) -> str:
        if line == "die":
            os._exit(1)
        return line

    launch = launcher_of("submitit_local", ["timeout_min=5"], tmp_path)
    killed, kept = launch(die_or_return, [("die",), ("kept",)])
    assert "has not produced any output" in killed and "\n" not in killed and kept == "kept"


def test_local_weights_of_the_declared_content_are_the_same_run(tiny, tmp_path):
    job = pairs(tiny)[0]
    place = f"model.weights={EMBEDDED / 'vit_digits'}"
    undeclared = replace(job, overrides=tuple(o for o in job.overrides if not o.startswith("model.digest")))
    assert Runs(tmp_path, [place]).id(undeclared) == Runs(tmp_path).id(job)


def test_a_folder_of_images_has_the_id_that_the_runner_gives(tmp_path):
    """Its number of classes is not in the configuration, but found."""
    for split, name in product(("train", "validation"), ("cat", "dog")):
        (tmp_path / "pets" / split / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (len(name + split), 9, ord(name[0]))).save(tmp_path / "pets" / split / name / "0.png")
    overrides = ("model=vit_digits", "task=images/folder", "task.name=images/pets")
    job = Job("pets", "lora", 0, ((LR, 0.01),), overrides, ("adapter=lora",))
    places = (f"task.data_dir={tmp_path / 'pets'}",)
    config, _ = runner.checked(resolved(job, places).having(results_dir=str(tmp_path)))
    assert Runs(tmp_path, places).id(job) == run_id(config)


def test_content_that_is_neither_declared_nor_here_is_told_once_and_looked_for_once(tiny, options, monkeypatch, capsys):
    make_record(pairs(tiny)[0], options.folder)  # without any record, nothing has to be looked for
    tiny.tasks["rte"] = ["model=roberta_tiny", "task=glue/rte"]
    looked, read = [], contents.read_content
    monkeypatch.setattr(contents, "read_content", lambda content: looked.append(content.name) or read(content))
    commands.plan(tiny, Options(options.folder, places=(f"task.data_dir={options.folder}/nowhere",)))
    out, err = capsys.readouterr()
    assert "tiny, tuning: 0 done, 6 missing" in out
    (line,) = err.splitlines()
    assert "task glue/rte has no declared digest and is not available here" in line and "nowhere" in line
    assert looked.count("glue/rte") == 1


@pytest.mark.parametrize("command", ["plan", "status", "tables", "figures", "compare"])
def test_what_reads_records_downloads_nothing(options, monkeypatch, command):
    tiny = undeclared_experiment()
    tiny.tuning = Tuning(seeds=[], knobs={"default": {}})
    make_record(pairs(tiny)[0], options.folder)
    read = refuse_downloads(monkeypatch)
    assert getattr(commands, command)(tiny, replace(options, other=options.folder)) == [] and read


def test_a_knob_of_the_adapter_is_in_the_label_and_counts_as_it_was_chosen(tiny, options):
    """The rank is tuned: r=4 is chosen, and the row is LoRA's of that rank; lora_alpha is in no label."""
    tiny.tuning.knobs["lora"] = {RANK: [1, 4], ALPHA: [8, 16]}
    for setting, score in zip(tiny.settings("lora"), (0.1, 0.2, 0.3, 0.4), strict=True):
        for job in trial_jobs(tiny, "digits", "lora", Trial(setting)):
            make_record(job, options.folder, score)
    chosen = state_of(tiny, options.folder).choices
    assert chosen == {("digits", "lora"): ((RANK, 4), (ALPHA, 16))}
    for job in reported_jobs(tiny, chosen):
        make_record(job, options.folder, 0.5)
    assert commands.tables(tiny, options) == []
    text = (options.folder / "table.md").read_text()
    assert "LoRA r=4" in text and "LoRA r=1" not in text and "50.0 ± 0.0" in text
    assert "lora: r 1, 4; lora_alpha 8, 16" in text and "lora on digits (r, lora_alpha)" in text
    assert "\n| Circulant" in text, "what is not tuned yet keeps its row"
    tuning = pd.read_csv(options.folder / "tuning.csv")
    assert tuning.loc[tuning["chosen"], "setting"].tolist() == ["adapter.peft.r=4 adapter.peft.lora_alpha=16"]


def test_a_fresh_clone_rebuilds_everything_from_the_collected_records(tiny, options, tmp_path, monkeypatch, capsys):
    """Of two machines and two states of the code, one run diverged: table, lists and figures to the byte, from
    records.jsonl alone; its runs are counted, and not repeated."""
    tune_by_hand(tiny, options.folder)
    first, second, third, fourth = reported_jobs(tiny, CHOICES)
    make_record(first, options.folder, 0.52)
    make_record(second, options.folder, 0.58, environment=ENVIRONMENT | {"device_kind": "gpu"})
    make_record(third, options.folder, 0.61, code={"sources": "t", "method": None})
    make_record(fourth, options.folder, status="diverged")
    clone = Options(tmp_path / "clone" / "tiny")
    clone.folder.mkdir(parents=True)
    assert commands.collect(tiny, options) == []
    shutil.copy(options.folder / records.COLLECTED, clone.folder)
    for where in (options, clone):
        with drawn_as(".png"):
            assert commands.tables(tiny, where) == [] == commands.figures(tiny, where)
    names = {path.name for path in options.folder.iterdir() if path.suffix in FORMATS}
    assert {"table.md", "table.tex", "table.csv", "runs.csv", "tuning.csv", "learning_curves.png"} < names
    for name in names:
        assert (clone.folder / name).read_bytes() == (options.folder / name).read_bytes(), name
    text = (clone.folder / "table.md").read_text()
    assert "made on 2 kinds of device (with the number of runs): cpu (3), gpu (1)." in text
    assert "made by 2 versions of the code" in text
    capsys.readouterr()
    commands.plan(tiny, clone)
    assert "tiny, reported: 4 done, 0 missing, 0 failed of 4 runs; nothing left to run" in capsys.readouterr().out
    trained = without_training(monkeypatch, lambda config: 0.5)
    assert commands.tune(tiny, clone) == [] == commands.run_reported(tiny, clone) and trained == []


def test_results_of_other_machines_are_merged(tiny, options, tmp_path, capsys):
    jobs = reported_jobs(tiny, CHOICES)
    for folder, part in ((options.folder, jobs[:2]), (tmp_path / "other", jobs[1:])):
        for job in part:
            make_record(job, folder)
    make_record(jobs[0], tmp_path / "dirty", 0.6, environment=ENVIRONMENT | {"git_dirty": True})
    assert commands.collect(tiny, replace(options, merge=(tmp_path / "other",))) == []
    assert "tiny: 4 records" in capsys.readouterr().out
    (problem,) = commands.collect(tiny, replace(options, merge=(tmp_path / "dirty",)))
    assert problem == "1 records were made by code with uncommitted changes: they are not collected"
    shutil.copytree(tmp_path / "dirty", tmp_path / "same")
    assert commands.collect(tiny, Options(tmp_path / "same", merge=(tmp_path / "dirty",))) == [problem], "counted once"
    assert len(Runs(options.folder).results(jobs)) == 4


def test_the_estimate_takes_the_median_of_runs_alike(tiny, tmp_path):
    """By hand: circulant on digits took 10 and 30 s, so its third run takes 20; nothing is known of LoRA and of the
    other task."""
    tiny.seeds = [0, 1, 2]
    tiny.tasks["signs"] = [*tiny.tasks["digits"], "task.max_eval_samples=9"]
    jobs = reported_jobs(tiny, CHOICES | {("signs", adapter): setting for (_, adapter), setting in CHOICES.items()})
    circulant = [job for job in jobs if (job.task, job.adapter) == ("digits", "circulant")]
    make_record(circulant[0], tmp_path, timing={"wall_seconds": 10})
    make_record(circulant[1], tmp_path, timing={"wall_seconds": 30})
    runs = Runs(tmp_path)
    assert Estimates(jobs, runs, None).total(runs.waiting(jobs)) == (20, 3 + 6)


def test_the_plan_lists_runs_when_asked_to(tiny, options, capsys):
    tune_by_hand(tiny, options.folder)
    make_record(reported_jobs(tiny, CHOICES)[0], options.folder)
    commands.plan(tiny, replace(options, listed=True))
    lines = capsys.readouterr().out.splitlines()
    assert "done      circulant on digits, seed 0, lr=0.01" in lines
    assert "missing   lora on digits, seed 1, lr=0.001" in lines


def test_broken_foreign_and_disagreeing_records_are_told_and_left_out(tiny, options):
    tune_by_hand(tiny, options.folder)
    *others, fourth = reported_jobs(tiny, CHOICES)
    first, second, third = (
        records.run_folder(options.folder, make_record(job, options.folder).run_id) / "record.json" for job in others
    )
    make_record(fourth, options.folder, 0.75)
    first.write_text(first.read_text()[:300])
    second.write_text(second.read_text().replace('"schema_version": 2', '"schema_version": 7'))
    scores = {"reported": {"last": {"accuracy": 0.9}, "best": {"accuracy": 0.9}}}
    collected = records.read_file(third).having(created="2026-02-01T00:00:00+00:00", scores=scores)
    written = records.write(collected, options.folder.parent / "elsewhere")
    (options.folder / records.COLLECTED).write_text(json.dumps(written.document()) + "\n")
    make_record(replace(fourth, setting=((LR, 0.5),)), options.folder, 0.99)
    problems = commands.tables(tiny, options)
    assert len(problems) == 3
    assert any(str(first) in line and "unreadable" in line for line in problems)
    assert any("schema_version 7" in line for line in problems)
    disagree = f"run {third.parent.name} has results that do not agree, so none is used: 0.5000 .* and 0.9000"
    assert any(pd.Series([line]).str.match(disagree).item() for line in problems)
    runs = pd.read_csv(options.folder / "runs.csv")
    assert runs["score"].tolist() == [0.75], "neither the twins nor another learning rate is in a mean"


BAD = {
    "a seed of both kinds": (
        {"tuning": {"seeds": [1], "knobs": {"default": {LR: [0.1]}}}},
        r"\[1\] are in both seeds and tuning.seeds",
    ),
    "no tuning seeds": ({"tuning": MINIMAL["tuning"] | {"seeds": []}}, "tuning.seeds needs at least one number"),
    "a seed twice": ({"seeds": [3, 3]}, r"seeds is \[3, 3\]: give each number once"),
    "a seed below 0": ({"seeds": [-1, 0]}, r"seeds is \[-1, 0\]: each must be from 0 to 2\*\*32 - 1"),
    "a tuning seed too large": (
        {"tuning": MINIMAL["tuning"] | {"seeds": [2**32]}},
        r"tuning.seeds is \[4294967296\]: each must be from 0",
    ),
    "a seed among the overrides": (
        {"overrides": ["seed=3"]},
        "the override seed=3 is not possible: give seeds and tuning.seeds",
    ),
    "a seed of a task": ({"tasks": {"digits": ["task=digits", "seed=3"]}}, "the override seed=3 is not possible"),
    "a mapping among the overrides": ({"overrides": [{"a": "b"}]}, "{'a': 'b'} is not possible: write it as key="),
    "a name of its own": ({"name": "mine"}, "unknown key 'name': choose from adapters"),
    "no tasks": ({"tasks": {}}, "tasks is empty: give at least one"),
    "no adapters": ({"adapters": {}}, "adapters is empty: give at least one"),
    "survivors that are all": (
        {"tuning": {"seeds": [2], "survivors": 2, "knobs": {"default": {LR: [0.1, 0.2]}}}},
        "tuning.survivors=2 is not possible: below 2, the number of first settings",
    ),
    "an unknown key": (
        {"repeats": 3},
        "unknown key 'repeats': choose from adapters, best_epoch, overrides, seeds, tasks, tuning$",
    ),
    "an unknown key of tuning": (
        {"tuning": MINIMAL["tuning"] | {"validation": "dev"}},
        "unknown key 'tuning.validation': choose from finalists, knobs, seeds, steps, survivors$",
    ),
    "a key that is missing": (
        {"tuning": {"seeds": [2]}},
        "tuning.knobs is missing: give for each adapter, or for default, its knobs, and a list",
    ),
    "a word for a number": ({"seeds": ["one"]}, r"seeds\[0\]='one' is not possible: give a list of whole numbers$"),
    "a number for a list": ({"seeds": 3}, "yaml: seeds=3 is not possible: give a list of whole numbers$"),
    "a string for a list": (
        {"tasks": {"digits": "task=digits"}},
        "tasks.digits='task=digits' is not possible: give a name and a list of overrides for each$",
    ),
    "a list for names": (
        {"adapters": ["lora"]},
        r"adapters=\['lora'\] is not possible: give a name and a list of overrides for each$",
    ),
    "a number for knobs": (
        {"tuning": {"seeds": [2], "knobs": {"default": {LR: 0.1}}}},
        "tuning.knobs.default={'optimizer.lr': 0.1} is not possible: give for each adapter",
    ),
    "a list for knobs": (
        {"tuning": {"seeds": [2], "knobs": [LR]}},
        r"tuning.knobs=\['optimizer.lr'\] is not possible: give for each adapter",
    ),
    "a word for tuning": ({"tuning": "none"}, "tuning='none' is not possible: give seeds and knobs$"),
    "nothing for a list": ({"overrides": [None]}, r"overrides\[0\]=null is not possible: give a list of overrides$"),
    "nothing for tasks": ({"tasks": None}, "tasks=null is not possible: give a name"),
    "a reference to nothing": ({"tasks": {"d": ["${nope}"]}}, r"tasks.d\[0\]: Interpolation key 'nope' not found$"),
    "knobs of nobody": (
        {"tuning": {"seeds": [2], "knobs": {"default": {LR: [0.1]}, "lorra": {LR: [1.0]}}}},
        "tuning.knobs names lorra: name adapters",
    ),
    "no knobs": ({"adapters": {"lora": []}, "tuning": {"seeds": [2], "knobs": {}}}, "lora has no knobs"),
    "a range not above 0": (
        {"adapters": {"lora": []}, "tuning": {"seeds": [2], "knobs": {"lora": {LR: [0.0, 1.0]}}}},
        r"lora has the values \[0.0, 1.0\] of optimizer.lr: give numbers above 0",
    ),
    "a range that falls": (
        {"adapters": {"lora": []}, "tuning": {"seeds": [2], "knobs": {"lora": {LR: [1.0, 0.1]}}}},
        "in rising order",
    ),
    "an empty range": (
        {"adapters": {"lora": []}, "tuning": {"seeds": [2], "knobs": {"lora": {LR: []}}}},
        r"lora has the values \[\] of optimizer.lr",
    ),
    "a knob of the protocol": (
        {"adapters": {"lora": []}, "tuning": {"seeds": [2], "knobs": {"lora": {"trainer.epochs": [1.0]}}}},
        "cannot be tuned by trainer.epochs",
    ),
    "one survivor": ({"tuning": MINIMAL["tuning"] | {"survivors": 1}}, "tuning.survivors=1 is not possible"),
    "no steps": ({"tuning": MINIMAL["tuning"] | {"steps": 0}}, "tuning.steps=0 is not possible"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_a_file_gets_wrong_is_told_in_one_line(experiment_file, case):
    fields, message = BAD[case]
    experiment_file(**fields)
    with pytest.raises(UserError, match=message) as error:
        load_experiment("some")
    assert "\n" not in str(error.value) and "some.yaml" in str(error.value)
    assert not re.search("full_key|object_type|ListConfig|AnyNode|Structured", str(error.value))


def test_a_file_that_is_no_yaml_or_not_there_is_one_line(experiment_file, tmp_path):
    experiment_file()
    with pytest.raises(UserError, match="unknown experiment 'demmo': choose from some"):
        load_experiment("demmo")
    for text in ("tasks: {digits: [", "[tasks, adapters]"):
        (tmp_path / "experiment" / "some.yaml").write_text(text)
        with pytest.raises(UserError, match="some.yaml") as error:
            load_experiment("some")
        assert "\n" not in str(error.value)


def test_what_cannot_be_run_is_left_out_and_the_rest_goes_on(experiment_file):
    digits = ["model=vit_digits", "task=digits"]
    experiment_file(
        tasks={"digits": digits, "moons": ["task=moons"], "mixed": [*digits, "adapter.peft.r=2"],
               "odd": [*digits, "task.rows=9"]},
        adapters={
            "typo": ["adapter=circulent"],
            "lora": ["adapter=lora"],
            "rr": ["adapter=lora", "adapter.peft.rr=1"],
            "longer": ["adapter=lora", "trainer.epochs=99"],
            "again": ["adapter=lora", "adapter.peft.r=8"],
            "momentum": ["adapter=lora", "adapter.label=SGD", "optimizer.momentum=much"],
            "sgd": ["adapter=lora", "adapter.label=SGD", "optimizer=sgd"],
            "start": ["adapter=circulant", "+adapter.peft.init_std=0.1"],
        },
    )  # fmt: skip
    experiment, problems = load_experiment("some")
    assert (list(experiment.tasks), list(experiment.adapters)) == (["digits"], ["lora", "sgd", "start"])
    for output in (
        "moons left out: unknown task 'moons'",
        "mixed left out: it has the override adapter.peft.r=2: give it to an adapter",
        "odd left out: ",
        "typo left out: unknown adapter 'circulent': choose from",
        "rr left out: ",
        "longer left out: it has the override trainer.epochs=99",  # the protocol is the same for all
        "again left out: lora has its label 'LoRA r=8', too",
        "momentum left out: ",
    ):
        (line,) = (line for line in problems if output in line)
        assert "\n" not in line
    assert len(problems) == 8


@pytest.mark.parametrize("steps", [-1, 0])
def test_a_number_of_steps_that_is_not_possible_is_told_once(tiny, steps):
    tiny.overrides.append(f"trainer.max_steps={steps}")
    output = f"digits left out: trainer.max_steps={steps} is not possible: at least 1, or null"
    assert leave_out(tiny) == [output] and not tiny.tasks


@pytest.mark.parametrize("key", ["steps", "survivors"])
def test_tuning_by_steps_needs_runs_of_a_number_of_steps(tiny, key):
    assert leave_out(replace(tiny, tuning=replace(tiny.tuning, **{key: 16}))) == []
    tiny.overrides.remove("trainer.max_steps=8")
    (problem,) = leave_out(replace(tiny, tuning=replace(tiny.tuning, **{key: 16})))
    assert problem.startswith("digits left out: ") and problem.endswith("give trainer.max_steps")


def test_steps_that_the_first_values_exceed_are_refused(tiny):
    """Circulant has two first values of eight steps; three would be tried for three steps, and two of them in full."""
    (problem,) = leave_out(replace(tiny, tuning=replace(tiny.tuning, steps=15)))
    assert "tuning.steps=15 is not possible: the first values of circulant take 16" in problem
    tiny = tiny_experiment()
    tiny.tuning.survivors, tiny.tuning.knobs["default"] = 2, {LR: [1e-4, 1e-3, 1e-2]}
    assert leave_out(replace(tiny, tuning=replace(tiny.tuning, steps=25))) == []
    (problem,) = leave_out(replace(tiny, tuning=replace(tiny.tuning, steps=24)))
    assert "the first values of circulant take 25" in problem


def test_what_is_trained_in_epochs_has_figures_too(tiny, options):
    tiny.overrides.remove("trainer.max_steps=8")
    tune_by_hand(tiny, options.folder)
    for job in reported_jobs(tiny, CHOICES):
        make_record(job, options.folder, 0.5)
    assert commands.tables(tiny, options) == [] == commands.figures(tiny, options)
    assert {"expected_validation.png", "learning_curves.png"} <= {path.name for path in options.folder.iterdir()}


def test_a_pair_that_is_not_tuned_is_told_and_the_tuned_ones_run(tiny, options, monkeypatch):
    for job in trial_jobs(tiny, "digits", "lora", Trial(tiny.settings("lora")[0])):
        make_record(job, options.folder)
    without_training(monkeypatch, lambda config: 0.5)
    output = "not tuned yet: circulant on digits; `surm-bench tune tiny` tunes them"
    assert commands.run(tiny, options) == [output]
    assert pd.read_csv(options.folder / "runs.csv")["label"].tolist() == ["LoRA r=1"] * 2
    assert "\n| Circulant" in (options.folder / "table.md").read_text(), "the untuned adapter keeps its row"


def test_a_table_is_not_replaced_by_an_empty_one(tiny, options, capsys):
    """The tables of a checkout may come without the records of their runs."""
    options.folder.mkdir(parents=True)
    (options.folder / "table.md").write_text("what was measured elsewhere")
    assert commands.tables(tiny, options) == [] == commands.figures(tiny, options)
    assert (options.folder / "table.md").read_text() == "what was measured elsewhere"
    assert [path.name for path in options.folder.iterdir()] == ["table.md"]
    commands.plan(tiny, options)
    assert "tiny, reported: 4 of 4 runs wait for their setting" in capsys.readouterr().out.splitlines()


def test_an_experiment_without_tasks_is_no_crash(tiny, options):
    tiny.tasks = {}
    for command in (commands.tune, commands.run, commands.plan, commands.tables, commands.figures, commands.collect):
        assert command(tiny, options) == []


def test_plans_tables_and_figures_need_no_torch(tmp_path):
    """On a machine that only reads results."""
    demo, _ = load_experiment("demo")
    folder = tmp_path / "demo"
    for setting in demo.settings("circulant"):
        for job in trial_jobs(demo, "digits", "circulant", Trial(setting)):
            make_record(job, folder)
    for job in reported_jobs(demo, {("digits", "circulant"): demo.settings("circulant")[0]}):
        make_record(job, folder)
    for job in short_runs(demo):
        if job.adapter == "circulant":
            make_record(job, folder / CALIBRATION)
    code = """if True:
        import sys
        from matplotlib.figure import Figure
        from surm_bench.command.main import command
        Figure.savefig = lambda figure, file, **options: file.touch()
        for name in ("plan", "status", "tables", "figures", "collect"):
            assert command([name, *sys.argv[1:]]) == 0
        print({"torch", "transformers", "peft", "datasets"} & set(sys.modules))
    """
    output = subprocess.run(
        [sys.executable, "-c", code, "demo", "--results", str(tmp_path)], capture_output=True, text=True
    )
    assert output.stdout.splitlines()[-1] == "set()", output.stderr
    assert "calibrated 2026-01-01" in output.stdout
    assert (folder / "table.md").is_file() and (folder / "learning_curves.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["plan", "demmo"], 2, "unknown experiment 'demmo'"),
        (["experiment"], 2, "the following arguments are required: experiment"),
        (["reproduce", "some", "--sample", "0"], 2, "0 is not possible: give at least 1"),
        (["collect", "some", "--merge", "nowhere"], 2, "nowhere"),
        (["experiment", "some"], 1, "not tuned yet"),
        (["merge", "some", "nowhere"], 2, "nowhere"),
        (["plan", "some"], 0, ""),
    ],
)
def test_exit_codes(tiny, experiment_file, tmp_path, monkeypatch, capsys, arguments, code, says):
    experiment_file(**{key: value for key, value in asdict(tiny).items() if key != "name"})
    monkeypatch.setattr(sys, "argv", ["surm-bench", *arguments, "--results", str(tmp_path / "results")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == code
    assert says in capsys.readouterr().err.replace("\n", " ")
