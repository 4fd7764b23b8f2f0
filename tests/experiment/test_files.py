"""Files of experiments: what is enumerated, and what a file gets wrong is told in one line."""

import re
from dataclasses import replace
from itertools import combinations, product

import pytest
from omegaconf import OmegaConf
from support.made_records import CHOICES, LR, tiny_experiment
from support.tiny_experiment import MINIMAL, RANK

from surm_bench.config.composition import compose
from surm_bench.config.identity import identity
from surm_bench.errors import UserError
from surm_bench.experiment import load_experiment
from surm_bench.experiment.files import experiment_files
from surm_bench.experiment.jobs import pair, reported_jobs, resolved, trial_jobs
from surm_bench.experiment.left_out import leave_out
from surm_bench.experiment.search import Trial
from surm_bench.system.installation import config_dir


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


def test_the_command_for_the_record_has_no_path_of_this_machine(tiny):
    command = reported_jobs(tiny, CHOICES)[0].command
    tiny.overrides += ["model.weights=/home/ada/vit.safetensors", "results_dir=/home/ada/results"]
    tiny.tasks["digits"] += ["task.data_dir='/home/ada/my data'"]
    job = reported_jobs(tiny, CHOICES)[0]
    assert job.command == command and resolved(job).task.data_dir == "/home/ada/my data"


def test_labels_that_could_collide_once_tuned_are_refused(tiny):
    tiny.adapters = {"fixed": ["adapter=lora", "adapter.peft.r=2"], "tuned": ["adapter=lora"]}
    tiny.tuning.knobs = {"default": {LR: [1e-3]}, "tuned": {"adapter.peft.r": [1.0, 2.0]}}
    assert leave_out(tiny) == [
        "tuned left out: fixed has its label 'LoRA r=2', too: give one of the two another adapter.label"
    ]


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
