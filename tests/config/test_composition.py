"""One place composes configurations: what it gives fast is what Hydra gives, and folders of the user's are found."""

import random
from itertools import chain

import pytest
from omegaconf import OmegaConf

from surm_bench.config import composition
from surm_bench.config.composition import add_config_dir, check_choices, choices, compose, resolved
from surm_bench.errors import UserError
from surm_bench.experiment import load_experiment
from surm_bench.experiment.files import experiment_files
from surm_bench.experiment.jobs import Job, reported_jobs, trial_jobs
from surm_bench.experiment.jobs import resolved as resolved_job
from surm_bench.experiment.search import Trial


def by_hydra(overrides) -> dict:
    return OmegaConf.to_container(compose(overrides), resolve=True)


def jobs_of(name: str) -> list[Job]:
    """Every run that an experiment's first trials, short and full, and its table may ask for."""
    experiment, _ = load_experiment(name)
    pairs = [(task, adapter) for task in experiment.tasks for adapter in experiment.adapters]
    short = bool(experiment.tuning.survivors)
    trials = (
        trial_jobs(experiment, task, adapter, Trial(setting, part))
        for task, adapter in pairs
        for setting in experiment.settings(adapter)
        for part in {False, short}
    )
    return [*chain(*trials), *reported_jobs(experiment, {pair: experiment.settings(pair[1])[-1] for pair in pairs})]


@pytest.mark.parametrize("number", [1, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", experiment_files())
def test_jobs_are_composed_as_hydra_composes_their_command_line(name, number):
    for job in random.Random(name).sample(jobs_of(name), number):
        assert resolved_job(job).document() == by_hydra(job.arguments()), job.command


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["adapter=lora", "+adapter.peft.route=dense"],
        ["task=glue/cola", "+task.rename.x=sentence", "+adapter.peft.inner.init_std=0.1"],
        ["task=glue/mnli", "~task.extra_eval_splits.mismatched"],
        ["adapter=lora", "adapter.label='${model.name}: ${task.name}'", "task=glue/cola"],
        ["optimizer.lr=1e-3", "optimizer=sgd", "optimizer.betas=[0.5,0.6]", "adapter.lr=7"],
        ["task.subset=12", "task.inputs=[a,b]", "model.checkpoint='a, b'", "model.revision=null"],
        ["trainer=surm_glue", "trainer.epochs=3", "tracking=wandb", "results_dir=x", "seed=4", "rerun=true"],
        ["adapter='lora'", "adapter.peft.r=4", "adapter.peft.r=2"],
        ["adapter.label='seed ${seed}'", "seed=4", "results_dir='a ${task.name}'"],
    ],
)
def test_any_command_line_is_composed_as_hydra_composes_it(overrides):
    assert resolved(overrides).document() == by_hydra(overrides)


@pytest.mark.parametrize("overrides", [["adapter=lora"], ["adapter=lora", "adapter.peft.r=2"], ["task=glue/cola"], []])
def test_what_was_composed_before_changes_nothing(overrides):
    """What is known of a file is kept, and no override may get into it."""
    resolved([*overrides, "adapter.label=other", "optimizer.lr=7", "task.inputs=[a,b]", "trainer.epochs=99"])
    assert resolved(overrides).document() == by_hydra(overrides)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trainer.epoch=3"], "'trainer.epoch'"),
        (["trainer.epochs=many"], "'many'"),
        (["seed=1.5"], "seed=1.5"),
        (["adapter=lora", "adapter.peft.rank=3"], "'adapter.peft.rank'"),
        (["adapter=lora", "+adapter.peft.r=3"], "already at 'adapter.peft.r'"),
        (["adapter=lora", "+adapter.rank=3"], "adapter.rank"),
        (["adapter=circulent"], "circulent"),
        (["optimizer.lr=1,2"], "optimizer.lr"),
        (["adapter.label=${nowhere}"], "nowhere"),
        (["nonsense=1"], "nonsense"),
        (["task.name=[1"], "[1"),
    ],
)
def test_what_is_refused_is_refused_in_hydras_words(overrides, said):
    with pytest.raises(UserError) as error:
        resolved(overrides)
    assert said in str(error.value) and "\n" not in str(error.value)


# --- folders of the user's --------------------------------------------------------------------------------------------


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder with an adapter, a model and a task, each of a kind that ours has under another name."""
    monkeypatch.setattr(composition, "_added", [])
    copies = {"adapter/lora": "adapter/mine", "model/vit_digits": "model/my/vit", "task/digits": "task/my_digits"}
    for original, copy in copies.items():
        text = (composition.config_dir() / f"{original}.yaml").read_text()
        group, _, name = copy.partition("/")
        file = tmp_path / "my configs" / f"{copy}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace(f"name: {original.rpartition('/')[2]}\n", f"name: {name}\n"))
    return tmp_path / "my configs"


def test_a_folder_that_is_added_is_composed_from(mine):
    overrides = ["adapter=mine", "adapter.peft.r=3", "model=my/vit", "task=my_digits"]
    with pytest.raises(UserError, match="unknown adapter 'mine'"):
        check_choices(overrides)
    add_config_dir(mine)
    check_choices(overrides)
    assert "my/vit" in choices("model") and "vit_digits" in choices("model")
    config = resolved(overrides)
    assert config.document() == by_hydra(overrides)
    assert (config.adapter.label, config.task.name) == ("LoRA r=3", "my_digits")


def test_a_folder_that_is_none_or_hides_behind_ours_is_refused(mine):
    with pytest.raises(UserError, match="nowhere is not a folder"):
        add_config_dir(mine / "nowhere")
    (mine / "adapter" / "lora.yaml").write_text("name: lora")
    with pytest.raises(UserError, match="lora.yaml has the name of a file of surm-bench"):
        add_config_dir(mine)
