"""Experiments: what is enumerated, how a learning rate is chosen, and that stopping and going on loses nothing."""

import pandas as pd
import pytest

from surm_bench import experiment as experiments
from surm_bench import experiment_cli, records, runner
from surm_bench.errors import UserError
from surm_bench.experiment import (
    Experiment,
    Tuning,
    choose_rates,
    composer,
    load_experiment,
    read_tuned,
    reported_jobs,
    run_jobs,
    tune,
    tuning_jobs,
)
from surm_bench.models.weights import EMBEDDED


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Experiment:
    """Two adapters on the digits, a handful of steps; its tuned rates go to a folder of the test's own."""
    monkeypatch.setattr(experiments, "_tuned_path", lambda experiment: tmp_path / "tuned.yaml")
    return Experiment(
        name="tiny",
        tasks={"digits": ["model=vit_digits", "task=digits"]},
        adapters={"circulant": ["adapter=circulant"], "lora": ["adapter=lora", "adapter.peft.r=1"]},
        seeds=[0, 1],
        overrides=["trainer.max_steps=8", "trainer.progress=false", "task.max_train_samples=200"],
        tuning=Tuning(seeds=[100], grids={"default": [1e-4, 1e-2], "lora": [1e-3]}),
    )


def test_the_demo_is_fully_tuned_and_composes(tmp_path):
    demo = load_experiment("demo")
    jobs = reported_jobs(demo)
    assert len(jobs) == 3 * 11 * 3
    assert len({(job.task, job.adapter, job.seed) for job in jobs}) == len(jobs)
    assert len(tuning_jobs(demo)) == len(demo.tuning.seeds) * 3 * (10 * len(demo.tuning.grids["default"])
                                                                    + len(demo.tuning.grids["full"]))  # fmt: skip
    with composer():
        labels = {experiments._compose(job, str(tmp_path)).adapter.label for job in jobs}
    assert {"LoRA r=1", "LoRA r=8", "Circulant", "Full fine-tuning"} <= labels and len(labels) == 11
    assert all(job.lr in experiments.grid(demo, job.adapter) for job in jobs)


def test_tuning_takes_the_best_mean_on_the_held_out_part(tiny, tmp_path):
    table, failures = tune(tiny, str(tmp_path / "tuning"))
    assert failures == []
    found, _ = records.load_all(tmp_path / "tuning")
    assert len(found) == 3 and {record["seed"] for record in found} == {100}
    assert all(record["metrics"]["selection"] == "holdout" for record in found)
    scores = {
        record["config"]["optimizer"]["lr"]: record["metrics"]["validation"]["last"]["accuracy"]
        for record in found
        if record["config"]["adapter"]["name"] == "circulant"
    }
    assert read_tuned(tiny)["digits"] == {"circulant": max(scores, key=scores.get), "lora": 1e-3}
    assert table["chosen"].sum() == 2 and len(table) == 3


def test_choice_of_rate():
    """By hand: 0.01 has the best score but a seed that did not finish, 0.001 and 0.003 tie on the mean."""
    rows = [(1e-3, 0.4), (1e-3, 0.6), (3e-3, 0.5), (3e-3, 0.5), (1e-2, 0.9), (1e-2, None), (1e-4, 0.3), (1e-4, 0.5)]
    scores = pd.DataFrame(
        [("digits", "lora", lr, score) for lr, score in rows], columns=["task", "adapter", "lr", "score"]
    )
    assert choose_rates(scores) == {"digits": {"lora": 1e-3}}
    with pytest.raises(UserError, match="no learning rate of the grid of lora on digits finished on every tuning seed"):
        choose_rates(scores[scores["lr"] == 1e-2])


def test_tuning_on_local_weights_and_a_rate_that_fails(tiny, tmp_path):
    """A rate that blows up is reported and not chosen; local weights are found like the embedded ones."""
    tiny.adapters = {"full": ["adapter=full"]}
    tiny.overrides += [f"model.weights={EMBEDDED / 'vit_digits'}", "optimizer.max_grad_norm=0", "trainer.max_steps=20"]
    tiny.tuning.grids = {"default": [1e30, 1e-3]}
    scores, failures = tune(tiny, str(tmp_path / "tuning"))
    assert read_tuned(tiny) == {"digits": {"full": 1e-3}}
    assert len(failures) == 1 and "lr 1e+30" in failures[0] and "the loss is" in failures[0]
    assert scores["score"].isna().tolist() == [True, False]


def test_run_report_and_go_on(tiny, tmp_path, monkeypatch, capsys):
    (tmp_path / "tuned.yaml").write_text("digits: {circulant: 0.01, lora: 0.001}")
    folder = tmp_path / "results"
    assert len(run_jobs(reported_jobs(tiny)[:1], str(folder), "tiny")[0]) == 1
    trained, fit = [], runner.fit
    monkeypatch.setattr(runner, "fit", lambda *a, **k: trained.append(k["title"]) or fit(*a, **k))
    assert experiment_cli.run_and_report(tiny, folder) == []
    assert len(trained) == 3, "the first of the four was already done"
    assert experiment_cli.run_and_report(tiny, folder) == []
    assert len(trained) == 3
    runs = pd.read_csv(folder / "runs.csv")
    table = pd.read_csv(folder / "table.csv").set_index("label")
    assert len(runs) == 4
    for label, scores in runs.groupby("label")["score"]:
        assert table.loc[label, "mean"] == pytest.approx(scores.mean())
        assert table.loc[label, "n"] == 2
    assert {path.name for path in folder.iterdir() if path.is_file()} >= {
        *("table.md", "table.tex", "table.csv", "runs.csv"),
        *("accuracy_against_parameters.png", "learning_curves.png"),
    }
    caption = (folder / "table.md").read_text()
    assert "tuning seeds that are not reported" in caption
    assert "Chosen at an edge of the grid: circulant on digits (0.01), lora on digits (0.001)." in caption


def test_a_failed_run_does_not_stop_the_rest_and_is_in_no_table(tiny, tmp_path, monkeypatch):
    (tmp_path / "tuned.yaml").write_text("digits: {circulant: 0.01, lora: 0.001}")
    fit = runner.fit

    def sometimes(*arguments, **given):
        if "Circulant" in given["title"] and "seed 1" in given["title"]:
            raise RuntimeError("out of memory")
        return fit(*arguments, **given)

    monkeypatch.setattr(runner, "fit", sometimes)
    (failure,) = experiment_cli.run_and_report(tiny, tmp_path / "results")
    assert failure.startswith("circulant on digits, seed 1") and "out of memory" in failure
    assert len(pd.read_csv(tmp_path / "results" / "runs.csv")) == 3
    found, _ = records.load_all(tmp_path / "results")
    assert sorted(record["status"] for record in found) == ["failed", "success", "success", "success"]


def test_errors(tiny, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="unknown experiment 'demmo': choose from demo"):
        load_experiment("demmo")
    with pytest.raises(
        UserError, match="no tuned learning rate for circulant on digits, lora on digits: run `make tune"
    ):
        reported_jobs(tiny)
    tiny.adapters["typo"] = ["adapter=circulent"]
    with pytest.raises(UserError, match="unknown adapter 'circulent'"):
        tuning_jobs(tiny)
    monkeypatch.setattr(experiments, "config_dir", lambda: tmp_path)
    (tmp_path / "experiment").mkdir()
    text = "tasks: {}\nadapters: {}\nseeds: [0, 1]\ntuning: {seeds: [1], grids: {default: [0.1]}}\n"
    (tmp_path / "experiment" / "twice.yaml").write_text(text)
    with pytest.raises(UserError, match=r"seeds \[1\] are both tuned on and reported"):
        load_experiment("twice")
    (tmp_path / "experiment" / "odd.yaml").write_text(text + "repeats: 3\n")
    with pytest.raises(UserError, match="repeats"):
        load_experiment("odd")
