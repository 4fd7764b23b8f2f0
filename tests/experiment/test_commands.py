"""The commands on an experiment: run, report, go on, collect; their exit codes."""

import shutil
import subprocess
import sys
from dataclasses import asdict, replace

import pandas as pd
import pytest
from support.figures import drawn_as
from support.made_records import CHOICES, ENVIRONMENT, LR, make_record, without_training
from support.tiny_experiment import tune_at, tune_by_hand

from surm_bench import records
from surm_bench.command.main import main
from surm_bench.experiment import commands, load_experiment
from surm_bench.experiment.calibration import CALIBRATION, short_runs
from surm_bench.experiment.commands import Options
from surm_bench.experiment.jobs import reported_jobs, trial_jobs
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.running import run_jobs
from surm_bench.experiment.search import Trial
from surm_bench.run import runner

pytestmark = pytest.mark.usefixtures("empty_figures")


FORMATS = (".md", ".tex", ".csv", ".png", ".svg", ".pdf")


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
    assert problem == "1 records are not collected: the code has changes, or git could not tell"
    shutil.copytree(tmp_path / "dirty", tmp_path / "same")
    assert commands.collect(tiny, Options(tmp_path / "same", merge=(tmp_path / "dirty",))) == [problem], "counted once"
    assert len(Runs(options.folder).results(jobs)) == 4


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
