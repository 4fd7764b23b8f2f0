"""Runs repeated elsewhere, and records, adapters and data against their digests."""

import json
import os
import re
import sys
from dataclasses import asdict, replace

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from safetensors.torch import load_file, save_file
from support.made_records import CHOICES, ENVIRONMENT, LR, make_record, predicted, tiny_experiment, without_training

from surm_bench import records
from surm_bench.command.main import main
from surm_bench.content import FileCache, file_digest
from surm_bench.errors import UserError
from surm_bench.experiment import Experiment, commands, files
from surm_bench.experiment.commands import Options
from surm_bench.experiment.contents import declared, read_content
from surm_bench.experiment.jobs import pairs, reported_jobs, resolved, trial_jobs
from surm_bench.experiment.reproduction import compare
from surm_bench.experiment.running import run_jobs
from surm_bench.experiment.search import Trial

pytestmark = pytest.mark.usefixtures("empty_figures")


@pytest.fixture(autouse=True)
def no_other_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def options(tmp_path) -> Options:
    return Options(tmp_path / "results" / "tiny", tmp_path / "outputs")


@pytest.fixture
def one() -> Experiment:
    """One adapter at one rate."""
    tiny = tiny_experiment()
    del tiny.adapters["circulant"]
    return replace(tiny, tuning=replace(tiny.tuning, knobs={"default": {LR: [1e-3]}}))


@pytest.fixture
def tuned_by_hand(one, options) -> Experiment:
    for job in trial_jobs(one, "digits", "lora", Trial(one.settings("lora")[0])):
        make_record(job, options.folder)
    return one


def test_on_the_same_machine_a_repeated_run_is_equal_and_a_changed_expectation_is_found(
    tuned_by_hand, options, tmp_path, monkeypatch, capsys
):
    """Trained in earnest, through the door: exit code 0, then 1 where the record says a thousandth less."""
    experiment, (job, _) = tuned_by_hand, reported_jobs(tuned_by_hand, CHOICES)
    (tmp_path / "experiment").mkdir()
    fields = {key: value for key, value in asdict(experiment).items() if key != "name"}
    (tmp_path / "experiment" / "tiny.yaml").write_text(json.dumps(fields))  # JSON is YAML
    monkeypatch.setattr(files, "config_dirs", lambda: [tmp_path])
    assert run_jobs([job], options.folder, "tiny") == []

    def reproduce() -> tuple[int, str, str]:
        places = ["--results", str(options.folder.parent), "--outputs", str(options.outputs)]
        monkeypatch.setattr(sys, "argv", ["surm-bench", "reproduce", "tiny", *places])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return end.value.code, out, err

    code, out, err = reproduce()
    assert (code, err) == (0, "") and "1 of 1 repeated runs agree with their records" in out
    assert re.search(r"lora on digits, seed 0, lr=0.001 +(0\.\d{4}) +\1 +equal", out)
    (path,) = (path for path in options.folder.glob("runs/*/record.json") if (path.parent / "adapter").is_dir())
    record = records.read_file(path)
    assert len(list(options.outputs.glob("tiny/runs/*"))) == 1 and path.parent.name == record.run_id
    record.scores["reported"]["last"]["accuracy"] -= 0.001
    records.write(record, options.folder)
    code, out, err = reproduce()
    assert code == 1 and "0 of 1 repeated runs agree" in out
    output = "differs by 0.0010, although the kind of machine, versions and code are the same"
    assert err == f"surm-bench: lora on digits, seed 0, lr=0.001: {output}\n"


ELSEWHERE = ENVIRONMENT | {"device_kind": "gpu"}


@pytest.mark.parametrize(
    ("of_seeds", "limit"),
    [
        ([0.50, 0.52, 0.54], 0.10),  # sd 0.02, so 0.04; two standard errors are 2·√(0.5·0.5/100) = 0.1
        ([0.50, 0.60, 0.70], 0.20),  # sd 0.1
        ([0.50], 0.10),
    ],
)
def test_the_tolerance_on_another_kind_of_device(tmp_path, of_seeds, limit):
    """By hand: the larger of two standard deviations over seeds and two standard errors of 0.5 over 100 examples."""
    job = reported_jobs(tiny_experiment(), CHOICES)[0]
    record = make_record(job, tmp_path, 0.5)
    for off, agrees in ((0.99 * limit, True), (-0.99 * limit, True), (1.01 * limit, False), (-1.01 * limit, False)):
        again = make_record(job, tmp_path, 0.5 + off, environment=ELSEWHERE)
        found = compare(job, record, again, of_seeds)
        assert (found.agrees, found.recorded, found.repeated) == (agrees, 0.5, 0.5 + off)
        verdict = f"differs by {abs(off):.4f}, {'within' if agrees else 'beyond'} {limit:.4f}"
        assert found.verdict == verdict
    assert compare(job, record, make_record(job, tmp_path, 0.5, environment=ELSEWHERE), of_seeds).verdict == "equal"


def test_the_tolerance_of_a_correlation(tmp_path):
    """Two times (1 − ρ²)/√(n − 1): of 0.6 over 101 examples 2 · 0.64 / 10 = 0.128."""
    job = reported_jobs(tiny_experiment(), CHOICES)[0]

    def made(value, **fields):
        scores = {"reported": {"last": {"pearson": value}, "best": {"pearson": value}}}
        fields |= {"primary_metric": "pearson", "examples": {"reported": 101}}
        return make_record(job, tmp_path, scores=scores, **fields)

    for value, verdict in ((0.72, "differs by 0.1200, within 0.1280"), (0.73, "differs by 0.1300, beyond 0.1280")):
        assert compare(job, made(0.6), made(value, environment=ELSEWHERE), [0.6]).verdict == verdict


def test_a_run_that_diverges_again_agrees(tmp_path):
    job = reported_jobs(tiny_experiment(), CHOICES)[0]
    diverged, success = (make_record(job, tmp_path, status=status) for status in ("diverged", "success"))
    assert compare(job, diverged, diverged, []).agrees
    for pair in ((diverged, success), (success, diverged)):
        found = compare(job, *pair, [])
        assert not found.agrees and found.verdict == f"{pair[0].status}, again {pair[1].status}"


def test_the_spread_over_seeds_is_that_of_the_records(options, monkeypatch, capsys):
    """Seeds score 0.5 and 0.9 on another kind of device: two sd are 0.5657. Circulant comes to 1.0, 0.5 off at most;
    LoRA to 0.3, of which its second seed is 0.6 off."""
    tiny = tiny_experiment()
    for adapter in tiny.adapters:
        for setting in tiny.settings(adapter):
            for job in trial_jobs(tiny, "digits", adapter, Trial(setting)):
                make_record(job, options.folder, 0.5 if setting == CHOICES["digits", adapter] else 0.4)
    for job in reported_jobs(tiny, CHOICES):
        make_record(job, options.folder, 0.5 + 0.4 * job.seed, environment=ELSEWHERE)

    def surface(config):
        return 1.0 if config.adapter.name == "circulant" else 0.3

    without_training(monkeypatch, surface)
    (problem,) = commands.reproduce(tiny, options)
    assert problem == "lora on digits, seed 1, lr=0.001: differs by 0.6000, beyond 0.5657"
    assert "3 of 4 repeated runs agree with their records" in capsys.readouterr().out
    assert (options.outputs / "tiny" / "table.md").is_file(), "all were repeated: so is the table"


def test_a_sample_is_drawn_of_what_is_done_and_what_fails_is_told(options, monkeypatch, capsys):
    tiny = tiny_experiment()
    assert commands.reproduce(tiny, options) == [
        f"tiny has no result to repeat in {options.folder}: run it first, or name another folder with --results"
    ]
    for adapter in tiny.adapters:
        for setting in tiny.settings(adapter):
            for job in trial_jobs(tiny, "digits", adapter, Trial(setting)):
                make_record(job, options.folder, 0.5 if setting == CHOICES["digits", adapter] else 0.4)
    *done, _ = reported_jobs(tiny, CHOICES)
    for job in done:
        make_record(job, options.folder, environment=ELSEWHERE)
    trained = without_training(monkeypatch, lambda config: 0.5)
    assert commands.reproduce(tiny, replace(options, sample=2)) == [] and len(set(trained)) == 2
    assert not (options.outputs / "tiny" / "table.md").exists()
    assert commands.reproduce(tiny, options) == [] and len(set(trained)) == 3
    assert "3 of 3 repeated runs agree" in capsys.readouterr().out

    def broken(config):
        raise RuntimeError("no space left")

    without_training(monkeypatch, broken)
    problems = commands.reproduce(tiny, replace(options, outputs=options.outputs / "full", sample=1))
    assert len(problems) == 2 and "no space left" in problems[0] and problems[1].endswith("success, again failed")


def test_the_results_are_not_repeated_in_their_own_folder(tuned_by_hand, options):
    """Runs of other code are removed where runs are repeated."""
    for job in reported_jobs(tuned_by_hand, CHOICES):
        make_record(job, options.folder)
    before = len(records.Archive(options.folder).records())
    with pytest.raises(UserError, match="holds the results to compare with: name another folder with --outputs"):
        commands.reproduce(tuned_by_hand, replace(options, outputs=options.folder.parent))
    assert len(records.Archive(options.folder).records()) == before


def test_verify_names_a_changed_adapter_though_its_digest_is_cached(tuned_by_hand, options, capsys):
    """Trained in earnest; then one bit of a tensor is turned, and size and time of the file are put back."""
    (job, _) = reported_jobs(tuned_by_hand, CHOICES)
    assert run_jobs([job], options.folder, "tiny") == []
    assert commands.verify(tuned_by_hand, options) == []
    assert "2 records read, 2 data sets and models compared" in capsys.readouterr().out
    (weights,) = options.folder.glob("runs/*/adapter/adapter_model.safetensors")
    before = file_digest(weights, FileCache())
    content = weights.read_bytes()
    overwrite(weights, content[:-1] + bytes([content[-1] ^ 1]))
    assert file_digest(weights, FileCache()) == before, "the cache does not see it"
    (problem,) = commands.verify(tuned_by_hand, options)
    assert problem.startswith(f"{weights} is not the file that run ")
    given = problem.partition("train it again with: python -m surm_bench ")[2]
    assert given.split() == [*job.arguments(), f"results_dir={options.folder}", "rerun=true"]
    save_file({name: -tensor for name, tensor in load_file(weights).items()}, weights)
    assert len(commands.verify(tuned_by_hand, options)) == 1
    weights.unlink()
    assert commands.verify(tuned_by_hand, options) == [], "an absent adapter is no damage"


def overwrite(file, content: bytes) -> None:
    """In place, with the same size, time and inode."""
    status = file.stat()
    with file.open("r+b") as opened:
        opened.write(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file.stat().st_size == status.st_size


def test_verify_names_changed_data_though_their_digest_is_cached(one, options, tmp_path, capsys):
    """RTE's layout, its digest declared; then some letters are changed, and size and time of the file are put back."""
    rows = {"sentence1": ["a cat"] * 80, "sentence2": ["a dog"] * 80, "label": [0, 1] * 40}
    (tmp_path / "rte").mkdir()
    for split in ("train", "validation"):
        file = tmp_path / "rte" / f"{split}.parquet"
        pyarrow.parquet.write_table(pyarrow.table(rows), file, compression="none", use_dictionary=False)
    place = f"task.data_dir={tmp_path}"
    one.tasks = {"rte": ["model=roberta_tiny", "task=glue/rte"]}
    options = replace(options, places=(place,))

    def contents() -> dict:
        return {content.group: content for content in declared(resolved(pairs(one)[0]), options.places)}

    output = commands.verify(one, options)
    digests = {group: read_content(content) for group, content in contents().items()}
    assert output == [
        f"{group} {name} declares no digest: add {group}.digest={digests[group]} to its overrides"
        for group, name in (("model", "roberta_tiny"), ("task", "glue/rte"))
    ]
    one.tasks["rte"] += [f"{group}.digest={digest}" for group, digest in digests.items()]
    assert commands.verify(one, options) == []
    overwrite(file, file.read_bytes().replace(b"a cat", b"a rat"))
    assert read_content(contents()["task"]) == digests["task"], "the cache does not see it"
    (problem,) = commands.verify(one, options)
    train, _ = digests["task"].split("-")
    assert re.fullmatch(rf"task glue/rte has digest {train}-\w{{12}} here, but declares {digests['task']}", problem)
    file.write_bytes(b"no parquet")
    capsys.readouterr()
    (problem,) = commands.verify(one, options)  # it was named, and cannot be read
    assert "is not a readable parquet file" in problem
    assert "1 data sets and models compared with their digests, 1 not available" in capsys.readouterr().out
    assert commands.verify(one, replace(options, places=())) == []  # it was not named: on the hub, out of reach
    assert "not available: " in capsys.readouterr().out


def test_verify_names_collected_predictions_that_were_changed(tuned_by_hand, options):
    made = make_record(reported_jobs(tuned_by_hand, CHOICES)[0], options.folder)
    file = options.folder / "predictions.parquet"
    predicted(made, np.ones(40)).to_parquet(file, index=False)
    assert records.collect(options.folder) == (2, []) and commands.verify(tuned_by_hand, options) == []
    changed = pyarrow.parquet.read_table(file).set_column(5, "prediction", pyarrow.array(np.zeros(40)))
    pyarrow.parquet.write_table(changed, file)
    (problem,) = commands.verify(tuned_by_hand, options)
    assert "predictions.parquet cannot be read (its rows have changed since they were collected)" in problem


def test_verify_takes_the_files_of_a_run_that_was_repeated_here(tuned_by_hand, options):
    """The collected record of an earlier run counts, and it has other files."""
    job = reported_jobs(tuned_by_hand, CHOICES)[0]
    earlier = make_record(job, options.folder, files={"adapter/adapter_model.safetensors": "0" * 64})
    records.collect(options.folder)
    adapter = records.run_folder(options.folder, earlier.run_id) / "adapter" / "adapter_model.safetensors"
    adapter.parent.mkdir()
    adapter.write_bytes(b"repeated")
    files = {"adapter/adapter_model.safetensors": file_digest(adapter)}
    make_record(job, options.folder, files=files, created="2026-02-01T00:00:00+00:00")
    assert commands.verify(tuned_by_hand, options) == []


def test_verify_names_a_changed_record(tuned_by_hand, options):
    (path,) = options.folder.glob("runs/*/record.json")
    path.write_text(path.read_text().replace('"accuracy": 0.5', '"accuracy": 0.6'))
    (problem,) = commands.verify(tuned_by_hand, options)
    changed = f"record {path} was changed after it was written: its checksum does not fit"
    assert problem == f"{changed}; this record is left out: make the run again to replace it"
