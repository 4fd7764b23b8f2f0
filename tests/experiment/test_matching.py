"""Which run is a job's: ids of content that is declared, here, or neither; plans and estimates."""

import json
from dataclasses import replace
from itertools import product

import pandas as pd
import pytest
from PIL import Image
from support.made_records import CHOICES, LR, make_record, refuse_downloads, undeclared_experiment
from support.tiny_experiment import tune_by_hand

from surm_bench import records
from surm_bench.config.identity import run_id
from surm_bench.experiment import Tuning, commands, contents
from surm_bench.experiment.commands import Options
from surm_bench.experiment.estimates import Estimates
from surm_bench.experiment.jobs import Job, pairs, reported_jobs, resolved
from surm_bench.experiment.matching import Runs
from surm_bench.models.weights import EMBEDDED
from surm_bench.run import runner

pytestmark = pytest.mark.usefixtures("empty_figures")


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
