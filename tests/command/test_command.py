"""The command: what each part of it needs, how it ends, and that it works with a folder of the user's."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.made_records import make_record, tiny_experiment, without_training
from support.runs import DIGITS, begin

from surm_bench import records
from surm_bench.benchmark.parts import PARTS
from surm_bench.command import bench
from surm_bench.command.errors import exit_code
from surm_bench.command.main import GROUPS, command
from surm_bench.command.study import STUDIES
from surm_bench.config import composition
from surm_bench.errors import UserError
from surm_bench.experiment.commands import Options, run, status, tune
from surm_bench.experiment.jobs import reported_jobs, trial_jobs
from surm_bench.experiment.search import Trial
from surm_bench.system.installation import config_dir

pytestmark = pytest.mark.usefixtures("empty_figures")
SHORT = ["trainer.max_steps=2", "trainer.progress=false", "task.max_train_samples=64", "task.max_eval_samples=32"]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A user's folder: an adapter, and an experiment that runs it."""
    monkeypatch.setattr(composition, "_added", [])
    monkeypatch.chdir(tmp_path)
    adapter = (config_dir() / "adapter" / "lora.yaml").read_text()
    experiment = {
        "tasks": {"digits": [*DIGITS, *SHORT]},
        "adapters": {"my_lora": ["adapter=my_lora", "adapter.peft.r=2"]},
        "seeds": [0],
        "tuning": {"seeds": [9], "knobs": {"default": {"optimizer.lr": [0.01]}}},
    }
    for name, text in (
        ("adapter/my_lora", adapter.replace("name: lora\n", "name: my_lora\n").replace("LoRA", "Mine")),
        ("experiment/my_experiment", json.dumps(experiment)),  # JSON is YAML
    ):
        (tmp_path / "configs" / name).parent.mkdir(parents=True)
        (tmp_path / "configs" / f"{name}.yaml").write_text(text)
    return ["--config-dir", str(tmp_path / "configs")]


def test_a_users_experiment_is_planned_tuned_run_and_shown(mine, tmp_path, capsys):
    """In earnest, in a folder that is no checkout."""
    assert command(["plan", "my_experiment", *mine]) == 0
    assert "my_experiment, tuning: 0 done, 1 missing, 0 failed of 1 runs" in capsys.readouterr().out
    assert command(["experiment", "my_experiment", *mine]) == 1  # not tuned yet
    assert command(["tune", "my_experiment", *mine]) == 0
    assert command(["experiment", "my_experiment", *mine]) == 0
    assert "Mine r=2" in (tmp_path / "results" / "my_experiment" / "table.md").read_text()
    assert command(["tables", "my_experiment", *mine]) == 0
    assert command(["report", "my_experiment", *mine, "--out", "page.html"]) == 0
    assert "Mine r=2" in (tmp_path / "page.html").read_text()
    capsys.readouterr()
    assert command(["params", "vit_digits", *mine, "--folder", "counts"]) == 0
    said = capsys.readouterr()
    assert said.err == "" and "Mine r=8" in said.out and "Mine r=8" in Path("counts/vit_digits.md").read_text()


def test_a_run_with_a_users_adapter(mine, tmp_path, capsys):
    assert exit_code(command, ["run", *DIGITS, *SHORT, "adapter=my_lora"]) == 2
    assert "unknown adapter 'my_lora': choose from adalora" in capsys.readouterr().err
    assert exit_code(command, ["run", *mine, *DIGITS, *SHORT, "adapter=my_lora"]) == 0
    (record,) = records.Archive(tmp_path / "results").records()
    assert record.config.adapter.label == "Mine r=8"
    assert "adapter=my_lora" in record.command and record.command.startswith("python -m surm_bench ")
    assert exit_code(command, ["run", *mine, *DIGITS, "adapter=my_lora", "--cfg", "job", "--package", "adapter"]) == 0
    assert "label: Mine r=" in capsys.readouterr().out


def test_hydras_searchpath_is_left_to_hydra(mine, capsys):
    given = ["run", f"hydra.searchpath=[file://{mine[1]}]", "adapter=my_lora", "--cfg", "job", "--package", "adapter"]
    assert exit_code(command, given) == 0
    assert "name: my_lora" in capsys.readouterr().out


# --- what it needs ----------------------------------------------------------------------------------------------------


def without(packages: str, code: str) -> subprocess.CompletedProcess:
    """Run code in a process that cannot import these packages."""
    block = f"import sys; sys.modules.update(dict.fromkeys({packages.split()!r}))"
    return subprocess.run([sys.executable, "-c", f"{block}\n{code}"], capture_output=True, text=True)


@pytest.mark.parametrize("arguments", [["plan", "demo"], ["run", "task=digits"], ["params", "vit_digits"]])
def test_a_package_that_is_missing_is_one_line(arguments):
    done = without("hydra", f"from surm_bench.command.main import main; sys.argv[1:] = {arguments!r}; main()")
    output = "surm-bench: this command needs hydra, which is not installed: pip install 'surm-bench[bench]'\n"
    assert (done.returncode, done.stderr) == (2, output)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "surm-bench: the following arguments are required: COMMAND (surm-bench --help has more)"),
        (
            "plan",
            "surm-bench plan: the following arguments are required: experiment (surm-bench plan --help has more)",
        ),
        ("study it", "surm-bench study: argument STUDY: invalid choice: 'it' (choose from "),
        ("run model=vit_digits task=glue/rte", "family 'vision': choose a text model"),
        ("run model=vit_digits task=digits task.kind=picture", "unknown task.kind 'picture': choose from image, text"),
        (
            "run model=vit_digits task=digits task.rename.pixels=image",
            "config use +task.rename.pixels=image Key 'pixels'",
        ),
        ("run model=vit_digits task=digits task.renamed=1", "'task.renamed'. Key 'renamed' not in 'TaskConfig'"),
        (
            "plan demo --config-dir nowhere",
            "--config-dir nowhere is not a folder: name one with subfolders",
        ),
        ("run model=vit_digits task=digits adapter=mine", "(for files of your own give --config-dir)"),
        ("status nope --watch", "unknown experiment 'nope'"),
        (
            "collect demo --results file/results",
            "has no result to collect: run the experiment first, or name another folder",
        ),
        ("report demo --results nowhere", "below nowhere: run one first, or name another folder with --results"),
        (
            "reproduce demo --results nowhere",
            "nowhere/demo: run it first, or name another folder with --results",
        ),
    ],
)
def test_a_refusal_is_one_line_that_names_the_next_step(line, says, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    try:
        assert exit_code(command, line.split()) in (1, 2)
    except SystemExit as end:
        assert end.code == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("heavy", "codes"),
    [
        (
            "hydra omegaconf numpy torch pandas",
            {"--help": 0, "--version": 0, "bench --help": 0, "export --help": 0, "study nothing": 2},
        ),
        (
            "torch pandas matplotlib scipy datasets",
            {"plan demo": 0, "status demo": 0, "plan nothing": 2, "evaluate nothing": 2, "params nothing": 2}
            | {"run adapter=nothing": 2, "run trainer.epoch=3": 2},
        ),
    ],
)  # fmt: skip
def test_what_is_answered_at_once_imports_nothing_heavy(heavy, codes):
    code = f"""if True:
        from surm_bench.command.main import main
        for line, code in {codes!r}.items():
            sys.argv[1:] = line.split()
            try:
                main()
            except SystemExit as end:
                assert (end.code or 0) == code, line
    """
    done = without(heavy, code)
    assert done.returncode == 0 and "not installed" not in done.stderr, done.stderr


def test_a_reader_that_ends_early_ends_the_command():
    """Such as ``surm-bench params all | head``."""
    code = """
import sys
from surm_bench.command.errors import exit_code

def command(text):
    sys.stdin.read()  # until the reader has ended
    return sys.stdout.write(text)

sys.exit(exit_code(command, "line"))
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", code], **pipes)
    process.stdout.close()
    assert process.communicate()[1] == b"" and process.returncode == 128 + signal.SIGPIPE


def test_the_parts_of_the_benchmark_have_their_names():
    assert tuple(PARTS) == bench.PARTS


@pytest.mark.parametrize(
    "options, folder",
    [
        ("approximation", "results/studies/approximation"),
        ("approximation --side 8", "outputs/studies/approximation"),
        ("uuid --pairs 2", "outputs/studies/uuid"),
        ("weights --results-dir elsewhere", "outputs/studies/weights"),
        ("pinwheel --quick", "outputs/studies/pinwheel"),
        ("uuid --pairs 2 --folder mine", "mine"),
    ],
)
def test_only_the_whole_study_replaces_its_results(options, folder, tmp_path, monkeypatch):
    written = []
    study = SimpleNamespace(main=lambda folder, **options: written.append(str(folder)))
    monkeypatch.setattr("surm_bench.command.study.import_module", lambda name: study)
    monkeypatch.chdir(tmp_path)
    assert command(["study", *options.split()]) == 0
    assert written == [folder]


def test_every_study_has_a_make_target():
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert set(re.findall(r"^study-(\S+): ##", makefile, re.MULTILINE)) == {name.replace("_", "-") for name in STUDIES}


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit, match="0"):
        command(["--version"])
    assert capsys.readouterr().out == "surm-bench 0.1.0\n"


def test_the_help_lists_every_command_once_under_a_heading(capsys):
    """A heading begins a line, its commands are indented."""
    with pytest.raises(SystemExit, match="0"):
        command(["--help"])
    out = capsys.readouterr().out
    assert re.findall(r"^  (\w+)  +\S", out, re.MULTILINE) == [name for names in GROUPS.values() for name in names]
    assert re.findall(r"^(\w[\w ]+):$", out, re.MULTILINE) == ["options", *GROUPS]


def test_a_command_without_a_heading_is_refused(monkeypatch):
    monkeypatch.setitem(GROUPS, "Measure", ("params", "study"))
    with pytest.raises(ValueError, match="name each of .*bench.* once under a heading"):
        command(["plan", "demo"])


def test_the_hub_out_of_reach_is_told_before_torch_is_imported(tmp_path):
    code = f"from surm_bench.command.main import main; sys.argv[1:] = ['run', 'results_dir={tmp_path}']; main()"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_DATASETS_CACHE": str(tmp_path)}
    environment.pop("HF_HUB_CACHE", None)
    block = "import sys; sys.modules['torch'] = None\n"
    done = subprocess.run([sys.executable, "-c", block + code], capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert "the hub is out of reach" in done.stderr.replace("Hugging Face ", "")
    assert "FacebookAI/roberta-base and nyu-mll/glue" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "choices"),
    [
        ("surm-bench pl", {"run", "plan", "bench"}),
        ("surm-bench plan de", {"demo", "core"}),
        ("surm-bench params ", {"roberta_base", "all"}),
        ("surm-bench run model=vit_d", {"model=vit_digits"}),
        ("surm-bench run trainer.epo", {"trainer.epochs="}),
        ("surm-bench bench ", set()),
    ],
)
def test_completion(line, choices, monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", line)
    assert command(["-sc", "query=bash"]) == 0
    assert choices <= set(capsys.readouterr().out.split())


def test_the_script_of_completion_is_for_this_command(monkeypatch, capsys):
    monkeypatch.delenv("COMP_LINE", raising=False)
    assert command(["-sc", "install=bash"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("surm-bench")


# --- status -----------------------------------------------------------------------------------------------------------


def test_the_status_of_an_experiment(tmp_path, capsys):
    """By hand: tuning is done, of four reported runs two scored, one failed for a reason; the best mean is LoRA's."""
    tiny = tiny_experiment()
    for adapter in tiny.adapters:
        for setting in tiny.settings(adapter):
            for job in trial_jobs(tiny, "digits", adapter, Trial(setting)):
                make_record(job, tmp_path, 0.9 if adapter == "circulant" else 0.2)
    assert status(tiny, Options(tmp_path)) == []
    out = capsys.readouterr().out
    assert "tiny: 3 done, 4 missing, 0 failed of 7 runs wanted so far, 0 running now\n" in out
    assert "tiny: 7 runs in all, about 0 h 00 min left in one process\ntimes by runs on cpu\n" in out
    assert "best     digits: circulant, lr=0.0001: accuracy 0.9000 over 1 seed, on rows held out for tuning" in out
    choices = {("digits", adapter): tiny.settings(adapter)[0] for adapter in tiny.adapters}
    circulant, failed, *lora = reported_jobs(tiny, choices)
    make_record(circulant, tmp_path, 0.6)
    make_record(failed, tmp_path, status="failed", error="out of memory")
    make_record(lora[0], tmp_path, 0.7)
    make_record(lora[1], tmp_path, 0.8)
    assert status(tiny, Options(tmp_path)) == []
    out = capsys.readouterr().out
    assert "6 done, 0 missing, 1 failed of 7 runs" in out
    assert "failed   circulant on digits, seed 1, lr=0.0001, run " in out and ": out of memory" in out
    assert "best     digits: lora, lr=0.001: accuracy 0.7500 over 2 seeds\n" in out


@pytest.mark.slow
def test_the_status_of_a_run_under_way(tmp_path, capsys):
    """A real one, in another process: who trains it and how far it is; ended, it is not listed."""
    tiny = tiny_experiment()
    tiny.overrides = [*tiny.overrides, "trainer.max_steps=40000", "trainer.epochs=10000", "trainer.save_seconds=0.05"]
    (job,) = trial_jobs(tiny, "digits", "lora", Trial(tiny.settings("lora")[0]))
    process = begin(tmp_path, *job.arguments(), short=False)
    try:
        while process.is_alive() and not any("step" in run.how_far for run in records.running(tmp_path)):
            process.join(0.1)
        (run,) = records.running(tmp_path)
        assert run.pid == process.pid and re.match(r"epoch \d+, step \d+ of 40000, loss [\d.e-]+, ", run.how_far)
        assert status(tiny, Options(tmp_path)) == []
        out = capsys.readouterr().out
        assert f"running  {job.title}: process {run.pid} on {run.host} since {run.since}; epoch " in out
        assert "of 40000, loss " in out and " left\n" in out and "1 running now" in out
    finally:
        process.terminate()
        process.join()
    assert records.running(tmp_path) == []


def test_rows_are_tuned_and_run_alone_and_tables_have_all(monkeypatch, tmp_path, capsys):
    """Records that nobody trained; the row left out stays in the table, without a score."""
    tiny = tiny_experiment()
    trained = without_training(monkeypatch, lambda config: 0.5)
    options = Options(tmp_path / "tiny", rows=("lora",))
    assert tune(tiny, options) == [] and run(tiny, options) == []
    assert {adapter for adapter, *_ in trained} == {"lora"}
    table = (tmp_path / "tiny" / "table.md").read_text()
    assert "Circulant" in table and "50.0" in table
    with pytest.raises(UserError, match="unknown row of tiny 'lor': choose from circulant, lora"):
        tiny.of_rows(["lor"])
    assert tiny.of_rows([]) == tiny


def test_claims_are_judged_by_the_command(tmp_path, capsys):
    for name in ("claims.yaml", "README.md"):
        (tmp_path / name).write_text((Path(__file__).parents[2] / "results" / name).read_text())
    assert exit_code(command, ["verdict", "--results", str(tmp_path)]) == 0
    assert (tmp_path / "verdict" / "accuracy_at_equal_parameters.md").is_file()
    folder = tmp_path / "reproduction_images"
    folder.mkdir()
    (folder / "records.jsonl").write_text('{"run_id": "broken\n')
    capsys.readouterr()
    for line in ("verdict", "report reproduction_images", "figures reproduction_images"):  # said, and not passed over
        assert exit_code(command, [*line.split(), "--results", str(tmp_path)]) != 0
        assert "records.jsonl" in capsys.readouterr().err
    (tmp_path / "claims.yaml").unlink()
    assert exit_code(command, ["verdict", "--results", str(tmp_path)]) == 2
    assert "claims.yaml" in capsys.readouterr().err


@pytest.mark.slow
def test_runs_are_repeated_several_at_once(tmp_path, capsys):
    """The launcher's processes train, and each repeated run has the score of its record to the digit."""
    folder = config_dir().parent / "results" / "demo"
    if not folder.is_dir():
        pytest.skip("no checkout: the demo's records are not here")
    again = ["reproduce", "demo", "--sample", "2", "--launcher", "joblib", "--launcher-option", "n_jobs=2"]
    places = ["--results", str(folder.parent), "--outputs", str(tmp_path)]
    assert exit_code(command, [*again, *places]) == 0, capsys.readouterr().err
    assert len(list(tmp_path.glob("demo/runs/*/record.json"))) == 2
