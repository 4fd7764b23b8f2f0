"""Experiments: what is enumerated, how a rate is chosen, and that stopping, failing and going on lose nothing."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf

from surm_bench import records, runner
from surm_bench.config import config_dir
from surm_bench.errors import UserError
from surm_bench.experiment import Experiment, Tuning, composer, definition, load_experiment, main, tuning
from surm_bench.experiment.definition import experiment_names
from surm_bench.experiment.jobs import Job, composable, pairs, reported_jobs, resolved, tuning_jobs
from surm_bench.experiment.main import Options
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.plan import estimate_seconds, print_plan
from surm_bench.experiment.running import launch_jobs, run_jobs
from surm_bench.experiment.tuning import choose_rates, read_tuned
from surm_bench.models.weights import EMBEDDED

RATES = {"digits": {"circulant": 0.01, "lora": 0.001}}
MINIMAL = {"tasks": {}, "adapters": {}, "seeds": [0, 1], "tuning": {"seeds": [2], "grids": {"default": [0.1]}}}


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Experiment:
    """Two adapters on the digits, a handful of steps; its tuned rates lie in a folder of the test's own."""
    path = tmp_path / "tuned.yaml"
    monkeypatch.setattr(tuning, "tuned_path", lambda experiment: path)
    path.write_text(json.dumps(RATES))
    return Experiment(
        name="tiny",
        tasks={"digits": ["model=vit_digits", "task=digits"]},
        adapters={"circulant": ["adapter=circulant"], "lora": ["adapter=lora", "adapter.peft.r=1"]},
        seeds=[0, 1],
        overrides=["trainer.max_steps=8", "trainer.progress=false", "task.max_train_samples=200"],
        tuning=Tuning(seeds=[100], grids={"default": [1e-4, 1e-2], "lora": [1e-3]}),
    )


@pytest.fixture
def options(tmp_path) -> Options:
    return Options(tmp_path / "results" / "tiny")


@pytest.fixture
def experiment_file(tmp_path, monkeypatch):
    """Writes an experiment file where load_experiment looks for it."""
    (tmp_path / "experiment").mkdir()
    monkeypatch.setattr(definition, "config_dir", lambda: tmp_path)

    def write(**fields) -> None:
        (tmp_path / "experiment" / "some.yaml").write_text(json.dumps(MINIMAL | fields))

    return write


@pytest.mark.parametrize("name", experiment_names())
def test_every_experiment_enumerates_and_composes(name):
    """Each file against its own lists: the product of them, no row or column refused, one label an adapter."""
    raw = OmegaConf.to_container(OmegaConf.load(config_dir() / "experiment" / f"{name}.yaml"))
    experiment, problems = load_experiment(name)
    assert problems == []
    jobs, problems = composable(tuning_jobs(experiment))
    assert problems == []
    grids = [raw["tuning"]["grids"].get(adapter, raw["tuning"]["grids"].get("default")) for adapter in raw["adapters"]]
    assert len(jobs) == len(raw["tasks"]) * sum(map(len, grids)) * len(raw["tuning"]["seeds"])
    rates = {task: dict.fromkeys(raw["adapters"], 0.5) for task in raw["tasks"]}
    reported, problems = composable(reported_jobs(experiment, rates))
    assert problems == []
    assert len(reported) == len(raw["tasks"]) * len(raw["adapters"]) * len(raw["seeds"]) == len(set(reported))
    with composer():
        configs = {(job.task, job.adapter): resolved(job) for job in pairs(experiment)}
        tuned = resolved(jobs[0])
    labels = {config["adapter"]["label"] for config in configs.values()}
    assert len(labels) == len(raw["adapters"]), "two rows of one name"
    assert tuned["task"]["validation"] == experiment.tuning.validation
    assert all(config["task"]["validation"] == "dev" for config in configs.values())
    for a, b in product(raw["tasks"], repeat=2):  # no two columns are the same runs
        if a != b:
            assert configs[a, next(iter(raw["adapters"]))] != configs[b, next(iter(raw["adapters"]))]


def test_the_demo_is_fully_tuned():
    for name in (name for name in experiment_names() if name.startswith("demo")):
        experiment, _ = load_experiment(name)
        rates, untuned = read_tuned(experiment)
        assert untuned == []
        assert all(job.lr in experiment.grid(job.adapter) for job in reported_jobs(experiment, rates))


def test_tuning_takes_the_best_mean_on_the_held_out_part(tiny, options):
    assert main.tune(tiny, options) == []
    found, _ = records.load_all(options.folder / "tuning")
    assert len(found) == 3 and {record["seed"] for record in found} == {100}
    assert all(record["metrics"]["selection"] == "holdout" for record in found)
    scores = {
        record["config"]["optimizer"]["lr"]: record["metrics"]["validation"]["last"]["accuracy"]
        for record in found
        if record["config"]["adapter"]["name"] == "circulant"
    }
    assert read_tuned(tiny) == ({"digits": {"circulant": max(scores, key=scores.get), "lora": 1e-3}}, [])
    written = pd.read_csv(options.folder / "tuning.csv")
    assert written["chosen"].sum() == 2 and len(written) == 3
    assert tuning.tuned_path(tiny).read_text().startswith("# Learning rate of each adapter on each task: ")


def test_tuning_on_the_reported_split_if_asked_to(tiny, options):
    tiny.tuning.validation = "dev"
    del tiny.adapters["circulant"]
    assert main.tune(tiny, options) == []
    (record,), _ = records.load_all(options.folder / "tuning")
    assert record["metrics"]["selection"] == "dev"
    assert pd.read_csv(options.folder / "tuning.csv")["score"].item() == record["metrics"]["last"]["accuracy"]
    assert "on the reported split itself" in tiny.rule


def test_choice_of_rate():
    """By hand: 0.01 has the best score but a seed that did not finish, 0.001 and 0.003 tie on the mean."""
    rows = [(1e-3, 0.4), (1e-3, 0.6), (3e-3, 0.5), (3e-3, 0.5), (1e-2, 0.9), (1e-2, None), (1e-4, 0.3), (1e-4, 0.5)]
    columns = ["task", "adapter", "lr", "score"]
    scores = pd.DataFrame([("digits", "lora", lr, score) for lr, score in rows], columns=columns)
    assert choose_rates(scores) == ({"digits": {"lora": 1e-3}}, [])
    broken = pd.DataFrame([("digits", "full", 1.0, None), ("digits", "lora", 0.1, 0.2)], columns=columns)
    told = "no learning rate of the grid of full on digits finished on every tuning seed"
    assert choose_rates(broken) == ({"digits": {"lora": 0.1}}, [told]), "the other adapter keeps its rate"


def test_tuning_on_local_weights_and_a_rate_that_fails(tiny, options):
    """A rate that blows up is reported and not chosen; local weights are found like the embedded ones."""
    tiny.adapters = {"full": ["adapter=full"]}
    tiny.overrides += ["optimizer.max_grad_norm=0", "trainer.max_steps=20"]
    tiny.tuning.grids = {"default": [1e30, 1e-3]}
    local = Options(options.folder, places=(f"model.weights={EMBEDDED / 'vit_digits'}",))
    (problem,) = main.tune(tiny, local)
    assert "lr 1e+30" in problem and "the loss is" in problem
    assert read_tuned(tiny)[0] == {"digits": {"full": 1e-3}}
    assert pd.read_csv(options.folder / "tuning.csv")["score"].isna().tolist() == [True, False]


def test_run_report_and_go_on(tiny, options, monkeypatch):
    jobs = reported_jobs(tiny, RATES)
    assert run_jobs(jobs[:1], options.folder, "tiny") == []
    trained, fit = [], runner.fit
    monkeypatch.setattr(runner, "fit", lambda *a, **k: trained.append(a[3].seed) or fit(*a, **k))
    assert main.run(tiny, options) == []
    assert len(trained) == 3, "the first of the four was already done"
    assert main.run(tiny, options) == []
    assert len(trained) == 3
    runs = pd.read_csv(options.folder / "runs.csv")
    table = pd.read_csv(options.folder / "table.csv").set_index("label")
    assert len(runs) == 4
    for label, scores in runs.groupby("label")["score"]:
        assert table.loc[label, "mean"] == pytest.approx(scores.mean())
        assert table.loc[label, "n"] == 2
    written = {path.name for path in options.folder.iterdir() if path.is_file()}
    assert written >= {"table.md", "table.tex", "table.csv", "accuracy_against_parameters.png", "learning_curves.png"}
    caption = (options.folder / "table.md").read_text()
    assert "tuning seeds that are not reported" in caption
    assert "Chosen at an edge of the grid: circulant on digits (0.01), lora on digits (0.001)." in caption


def test_a_failed_run_does_not_stop_the_rest_and_is_in_no_mean(tiny, options, monkeypatch, capsys):
    fit = runner.fit

    def sometimes(model, data, objective, settings, **given):
        if settings.adapter.name == "circulant" and settings.seed == 1:
            raise RuntimeError("out of memory")
        return fit(model, data, objective, settings, **given)

    monkeypatch.setattr(runner, "fit", sometimes)
    (failure,) = main.run(tiny, options)
    assert failure.startswith("circulant on digits, seed 1") and "out of memory" in failure
    runs = pd.read_csv(options.folder / "runs.csv")
    assert runs["status"].tolist() == ["success", "success", "success", "failed"]
    table = pd.read_csv(options.folder / "table.csv").set_index("label")
    succeeded = runs[(runs["label"] == "Circulant") & (runs["status"] == "success")]
    assert (table.loc["Circulant", "n"], table.loc["Circulant", "mean"]) == (1, succeeded["score"].item())
    capsys.readouterr()
    main.plan(tiny, options)
    told = " ".join(capsys.readouterr().out.split())
    assert "1/2!" in told and "RuntimeError: out of memory" in told
    assert "tiny, reported: 3 done, 0 missing, 1 failed of 4 runs; about 0 h 00 min left" in told
    assert "tiny, tuning: 0 done, 3 missing, 0 failed of 3 runs; time left not known yet" in told
    monkeypatch.undo()
    monkeypatch.setattr(tuning, "tuned_path", lambda experiment: options.folder.parents[1] / "tuned.yaml")
    assert main.run(tiny, options) == [], "a failed run is run again"


def test_a_launcher_gives_the_same_runs(tiny, options, tmp_path, capsys):
    """Against this process: the same ids and scores; what is done is not launched again; an unknown one is refused."""
    jobs = reported_jobs(tiny, RATES)
    assert run_jobs(jobs, tmp_path / "here", "tiny") == []
    broken = replace(jobs[0], overrides=(*jobs[0].overrides, "task.max_train_samples=7000"))
    (failure,) = launch_jobs([*jobs[:2], broken], options.folder, "joblib", ["hydra.launcher.n_jobs=1"])
    assert "task.max_train_samples=7000 is outside" in failure
    assert launch_jobs(jobs[:2], options.folder, "a launcher that is not reached") == []
    here, there = (Runs(folder, jobs[:2]).successes(jobs[:2]) for folder in (tmp_path / "here", options.folder))
    assert [(r["run_id"], r["metrics"]) for r in there] == [(r["run_id"], r["metrics"]) for r in here]
    with pytest.raises(UserError, match="launcher 'slurm'.*joblib"):
        launch_jobs(jobs, options.folder, "slurm")


def stub(job: Job, folder: Path, run_id: str, **fields) -> None:
    """A record of the job with no more than matching and estimating read."""
    with composer():
        config = resolved(job)
    record = {"run_id": run_id, "status": "success", "config": config, "created": "2026-01-01", "timing": {}} | fields
    records.write(record, folder)


def test_the_estimate_takes_the_mean_of_runs_alike(tiny, tmp_path):
    """By hand: circulant on digits took 10 and 30 s, so its third run takes 20; LoRA has no run there: digits' mean 20;
    nothing is known of the other task."""
    tiny.seeds = [0, 1, 2]
    tiny.tasks["signs"] = ["model=vit_digits", "task=digits", "task.max_eval_samples=9"]
    jobs = reported_jobs(tiny, {"digits": RATES["digits"], "signs": RATES["digits"]})
    circulant = [job for job in jobs if (job.task, job.adapter) == ("digits", "circulant")]
    stub(circulant[0], tmp_path, "a", timing={"wall_seconds": 10})
    stub(circulant[1], tmp_path, "b", timing={"wall_seconds": 30})
    seconds, unknown = estimate_seconds(jobs, Runs(tmp_path, jobs))
    assert (seconds, unknown) == (20 + 3 * 20, 6)


def test_broken_foreign_and_ambiguous_records_are_told_and_left_out(tiny, options):
    jobs = reported_jobs(tiny, RATES)
    assert run_jobs(jobs, options.folder, "tiny") == []
    first, second, third, fourth = sorted((options.folder / "runs").glob("*/record.json"))
    first.write_text(first.read_text()[:300])
    second.write_text(second.read_text().replace('"schema_version": 1', '"schema_version": 7'))
    twin = json.loads(third.read_text()) | {"run_id": "twin", "identity": {"data": "other"}}
    records.write(twin, options.folder)
    stub(replace(jobs[0], lr=0.5), options.folder, "foreign")
    problems = main.tables(tiny, options)
    assert len(problems) == 3
    assert any(str(first) in line and "unreadable" in line for line in problems)
    assert any("schema_version 7" in line for line in problems)
    assert any(re.search(r"several runs \(.*twin.*\) differ in local data or weights", line) for line in problems)
    runs = pd.read_csv(options.folder / "runs.csv")
    assert runs["run_id"].tolist() == [fourth.parent.name], "neither the twin nor another learning rate is in a mean"


def test_what_a_file_gets_wrong_is_told_in_one_line(experiment_file):
    def refused(match: str, **fields) -> None:
        experiment_file(**fields)
        with pytest.raises(UserError, match=match):
            load_experiment("some")

    refused(r"seeds \[1\] are both tuned on and reported", tuning={"seeds": [1], "grids": {"default": [0.1]}})
    refused("repeats", repeats=3)
    refused("unknown tuning.validation .*'test': choose from dev, holdout",
            tuning={"seeds": [2], "grids": {"default": [0.1]}, "validation": "test"})  # fmt: skip
    refused("a grid for lorra, which is none", tuning={"seeds": [2], "grids": {"default": [0.1], "lorra": [1.0]}})
    refused(
        r"the grid of lora is \[0.0, 1.0\]", adapters={"lora": []}, tuning={"seeds": [2], "grids": {"lora": [0.0, 1.0]}}
    )
    with pytest.raises(UserError, match="unknown experiment 'demmo': choose from some"):
        load_experiment("demmo")


def test_an_unknown_adapter_is_left_out_and_the_rest_goes_on(experiment_file, monkeypatch):
    experiment_file(
        tasks={"digits": ["model=vit_digits", "task=digits"], "moons": ["task=moons"]},
        adapters={
            "typo": ["adapter=circulent"],
            "lora": ["adapter=lora"],
            "odd": ["adapter=lora", "adapter.peft.rr=1"],
            "longer": ["adapter=lora", "trainer.epochs=99"],
        },
    )
    monkeypatch.setattr("surm_bench.cli.config_dir", config_dir)
    experiment, problems = load_experiment("some")
    assert (list(experiment.tasks), list(experiment.adapters)) == (["digits"], ["lora", "odd"])
    assert len(problems) == 3
    assert any("longer left out: trainer.epochs=99 among its overrides" in line for line in problems), (
        "the same for all"
    )
    assert any("typo left out: unknown adapter 'circulent': choose from" in line for line in problems)
    assert any("moons left out: unknown task 'moons'" in line for line in problems)
    jobs, problems = composable(tuning_jobs(experiment))
    assert [job.adapter for job in jobs] == ["lora"]
    (problem,) = problems
    assert problem.startswith("odd left out: ") and "adapter.peft.rr" in problem and "\n" not in problem


def test_an_untuned_pair_is_told_and_the_tuned_ones_run(tiny, options):
    tuning.tuned_path(tiny).write_text("digits: {lora: 0.001}")
    problems = main.run(tiny, options)
    assert problems == ["no tuned learning rate for circulant on digits: run `make tune EXPERIMENT=tiny` first"]
    assert pd.read_csv(options.folder / "runs.csv")["label"].tolist() == ["LoRA r=1"] * 2
    assert "—" in (options.folder / "table.md").read_text(), "the untuned adapter keeps its row"


def test_a_table_is_not_replaced_by_an_empty_one(tiny, options, capsys):
    """The tables of a checkout come without the records of their runs."""
    options.folder.mkdir(parents=True)
    (options.folder / "table.md").write_text("what was measured elsewhere")
    assert main.tables(tiny, options) == []
    assert (options.folder / "table.md").read_text() == "what was measured elsewhere"
    assert [path.name for path in options.folder.iterdir()] == ["table.md"]
    main.plan(replace(tiny, seeds=[0, 1, 2]), options)
    tuning.tuned_path(tiny).write_text("digits: {lora: 0.001}")
    main.plan(replace(tiny, seeds=[0, 1, 2]), options)
    assert "tiny, reported: 3 of 6 runs wait for their learning rate" in capsys.readouterr().out.splitlines()


def test_plans_tables_and_figures_need_no_torch(tmp_path):
    """On a machine that only reads results: the door of the experiments, once for each of these commands."""
    code = (
        "import sys; from surm_bench.experiment.main import main\n"
        "try: main()\n"
        "except SystemExit as done: print('code', done.code)\n"
        "print('torch' in sys.modules)"
    )
    for command in ("plan", "tables", "figures"):
        told = subprocess.run(
            [sys.executable, "-c", code, command, "demo", "--results", str(tmp_path)], capture_output=True, text=True
        )
        assert told.stdout.splitlines()[-2:] == ["code 0", "False"], told.stderr


def test_the_plan_lists_runs_when_asked_to(tiny, tmp_path, capsys):
    jobs = reported_jobs(tiny, RATES)
    stub(jobs[0], tmp_path, "a")
    print_plan("tiny", jobs, Runs(tmp_path, jobs), listed=True)
    lines = capsys.readouterr().out.splitlines()
    assert "done    circulant on digits, seed 0, lr 0.01" in lines
    assert "missing lora on digits, seed 1, lr 0.001" in lines
