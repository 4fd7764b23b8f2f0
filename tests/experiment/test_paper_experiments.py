"""The experiments of the paper: each can be run as it stands; what is not tuned; and rows that show the best epoch."""

from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from surm_bench.adapters.build import peft_config
from surm_bench.adapters.roles import find_roles
from surm_bench.config import Config
from surm_bench.config.composition import resolved as compose_config
from surm_bench.errors import UserError
from surm_bench.experiment import Experiment, Tuning, commands, load_experiment
from surm_bench.experiment.commands import Options
from surm_bench.experiment.files import experiment_files
from surm_bench.experiment.jobs import pair, pairs, resolved
from surm_bench.experiment.matching import Runs
from surm_bench.experiment.tuning import tuned
from surm_bench.experiment.tuning_caption import tuning_note
from surm_bench.models import build_skeleton
from surm_bench.tasks import TaskReader

PAPER = ["core", "paper_glue", "paper_images", "paper_images_tuned", "paper_low_data", "paper_vtab", "two_pipelines"]
pytestmark = pytest.mark.usefixtures("empty_figures")
GLUE = ("cola", "mrpc", "rte", "sst2", "stsb")


def configurations(name: str) -> tuple[Experiment, dict[tuple[str, str], Config]]:
    experiment, problems = load_experiment(name)
    assert problems == []
    jobs = pairs(experiment)
    return experiment, {(job.task, job.adapter): resolved(job) for job in jobs}


def test_there_is_an_experiment_for_each_claim():
    assert set(PAPER) <= set(experiment_files())


@pytest.mark.parametrize("name", PAPER)
def test_every_row_and_column_passes_the_checks_that_come_before_training(name):
    """Every row in the first column and every column of the first row: that is where checks look."""
    experiment, configs = configurations(name)
    first_task, first_adapter = next(iter(experiment.tasks)), next(iter(experiment.adapters))
    for (task, adapter), config in configs.items():
        if first_task != task and first_adapter != adapter:
            continue
        config.check()


@pytest.mark.parametrize("name", experiment_files())
def test_every_row_is_an_adapter_of_its_model(name):
    """With all its options, in the roles of the experiment's first model."""
    experiment, configs = configurations(name)
    first_task = next(iter(experiment.tasks))
    of_first = [configs[first_task, adapter] for adapter in experiment.adapters]
    roles = find_roles(name for name, _ in build_skeleton(of_first[0].model, 2).named_modules())
    for config in of_first:
        peft_config(config.adapter, roles)


@pytest.mark.parametrize("name", PAPER)
def test_surm_and_its_lora_are_on_q_k_and_v_unless_their_label_says_otherwise(name):
    _, configs = configurations(name)
    for config in configs.values():
        adapter = config.adapter
        if adapter.target.rpartition(".")[2] in ("SurmConfig", "LoraConfig"):
            assert adapter.roles == (["q", "v"] if "q and v" in adapter.label else ["q", "k", "v"])


@pytest.mark.parametrize("name", PAPER)
def test_tuning_has_two_seeds_and_can_afford_its_first_values(name):
    """A trial takes max_steps on each tuning seed, a short one a third of them."""
    experiment, configs = configurations(name)
    tuning = experiment.tuning
    for task, adapter in product(experiment.tasks, experiment.adapters):
        if adapter in experiment.untuned:
            continue
        assert len(tuning.seeds) >= 2
        settings, steps = len(experiment.settings(adapter)), configs[task, adapter].trainer.max_steps
        assert 2 <= tuning.survivors < settings
        if tuning.steps is not None:
            assert (settings / 3 + tuning.survivors) * steps * len(tuning.seeds) < tuning.steps


@pytest.mark.parametrize("name", ["paper_low_data", "paper_vtab"])
def test_tuning_seeds_hold_out_other_rows_of_a_subset(name):
    """A subset of its own for each seed: with one for all, every seed would hold out the same rows."""
    assert all(config.task.subset_seed is None for config in configurations(name)[1].values())


def test_every_method_has_as_many_first_settings_where_methods_are_compared():
    experiment, _ = configurations("paper_images_tuned")
    assert {len(experiment.settings(adapter)) for adapter in experiment.adapters} == {12}


@pytest.mark.parametrize("task", GLUE)
def test_declared_digests_are_those_of_the_data(task, data_dir):
    digest = TaskReader(compose_config([f"task=glue/{task}", f"task.data_dir={data_dir / 'glue'}"]).task).digest
    for name in ("core", "paper_glue"):
        configs = configurations(name)[1].values()
        declared = {c.task.digest for c in configs if c.task.name == f"glue/{task}"}
        assert declared <= {digest} and (declared or name == "core")


@pytest.fixture
def tiny() -> Experiment:
    return Experiment(
        name="tiny",
        tasks={"digits": ["model=vit_digits", "task=digits"]},
        adapters={"circulant": ["adapter=circulant"], "lora": ["adapter=lora", "adapter.peft.r=1"]},
        seeds=[0],
        overrides=["trainer.max_steps=4", "trainer.epochs=4", "trainer.progress=false", "task.max_train_samples=64"],
        tuning=Tuning(seeds=[], knobs={"default": {}}),
    )


def test_what_has_no_knobs_takes_no_tuning(tiny, tmp_path):
    """It has its setting without a run, and the caption says so."""
    state = tuned(tiny, Runs(tmp_path))
    assert state.jobs == [] and state.problems == {} and state.scores.empty
    assert state.choices == {("digits", "circulant"): (), ("digits", "lora"): ()}
    assert tuning_note(tiny, state) == "Nothing was tuned: all settings are those of the experiment's file."
    assert pair(tiny, "digits", "lora").title == "lora on digits, seed 0"


def test_what_has_no_knobs_is_told_beside_what_is_tuned(tiny, tmp_path):
    tiny.tuning = Tuning(seeds=[100], knobs={"circulant": {"optimizer.lr": [0.01, 0.1]}, "lora": {}})
    state = tuned(tiny, Runs(tmp_path))
    assert {job.adapter for job in state.jobs} == {"circulant"} and state.choices == {("digits", "lora"): ()}
    note = tuning_note(tiny, state)
    assert "First values of all adapters: lr 0.01, 0.1. Tuning seeds: 100." in note and note.endswith(
        "Not tuned: lora."
    )


def test_an_untuned_experiment_runs_without_tuning(tiny, tmp_path, capsys):
    options = Options(tmp_path / "tiny")
    assert commands.tune(tiny, options) == []
    assert commands.run(tiny, options) == []
    assert "Nothing was tuned" in (options.folder / "table.md").read_text()
    assert len(pd.read_csv(options.folder / "runs.csv")) == 2


def test_a_row_shows_its_best_epoch_if_asked_to_and_says_so(tiny, tmp_path, capsys):
    """Against the records of the same runs: circulant's best epoch, LoRA's last, in table and caption."""
    far_too_large = ["optimizer.lr=0.3", "optimizer.schedule=constant", "optimizer.warmup_ratio=0"]
    tiny.overrides += [*far_too_large, "trainer.epochs=12", "trainer.max_steps=12"]  # the best epoch is not the last
    tiny.best_epoch = ["circulant"]
    options = Options(tmp_path / "tiny")
    assert commands.run(tiny, options) == []
    runs, table = (pd.read_csv(options.folder / f"{name}.csv").set_index("label") for name in ("runs", "table"))
    assert runs.loc["Circulant", "score"] < runs.loc["Circulant", "best_score"]
    assert table.loc["Circulant", "mean"] == runs.loc["Circulant", "best_score"]
    assert table.loc["LoRA r=1", "mean"] == runs.loc["LoRA r=1", "score"]
    caption = (options.folder / "table.md").read_text()
    assert (
        "These rows show the best epoch by the score on the reported split itself, not the last: Circulant." in caption
    )


def test_what_a_file_may_not_say_of_untuned_rows_and_best_epochs(tmp_path, monkeypatch):
    (tmp_path / "experiment").mkdir()
    file: Path = tmp_path / "experiment" / "some.yaml"
    monkeypatch.setattr("surm_bench.experiment.files.config_dirs", lambda: [tmp_path])

    def write(seeds: str = "[0]", knobs: str = "{default: {}}", more: str = "") -> None:
        what = f"tasks: {{digits: []}}\nadapters: {{lora: []}}\nseeds: {seeds}\n"
        file.write_text(f"{what}tuning: {{seeds: [], knobs: {knobs}}}\n{more}")

    for given, output in (
        ({"more": "best_epoch: [lorra]"}, "best_epoch names lorra: name adapters of the file"),
        ({"knobs": "{lora: {optimizer.lr: [0.1, 0.2]}}"}, "tuning.seeds needs at least one number"),
        ({"seeds": "[]"}, "lora has no knobs"),
        ({"knobs": "{}"}, "lora has no knobs"),
    ):
        write(**given)
        with pytest.raises(UserError, match=output):
            load_experiment("some")
    write()
    assert load_experiment("some")[0].untuned == ["lora"]
