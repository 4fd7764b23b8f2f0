"""The command line: what it composes, and one clear line for whatever cannot be done."""

import math
import re
import subprocess
import sys

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from surm_bench import records
from surm_bench.command.main import run
from surm_bench.config import composition
from surm_bench.errors import UserError
from surm_bench.run import runner
from surm_bench.training import Interrupted

SHORT = ["trainer.max_steps=2", "trainer.progress=false", "task.max_train_samples=64", "task.max_eval_samples=32"]
DIGITS = ["model=vit_digits", "task=digits"]
GRAMMAR = ["model=roberta_tiny", "task=grammar/sentiment"]
RTE = ["model=roberta_tiny", "task=glue/rte"]


def command(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of ``python -m surm_bench``, run in this process."""
    monkeypatch.setattr(sys, "argv", ["surm_bench", *arguments])
    code = 0
    try:
        run()
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    return code, out, err


def recorded(folder) -> list[dict]:
    return records.Archive(folder).records()


def test_a_run(monkeypatch, capsys, tmp_path):
    """It says what is trained, the outcome, and what can be done with it. A circulant trains 2d numbers; d = 64."""
    code, out, _ = command(monkeypatch, capsys, *DIGITS, "adapter=circulant", *SHORT, f"results_dir={tmp_path}")
    (record,) = recorded(tmp_path)
    assert code == 0 and record.status == "success"
    trained = f"{2 * 64 * 8:,} adapter parameters, 8.0x fewer than LoRA r=8; {64 * 10 + 10} in the head"
    for line in (
        f"Circulant on digits, seed 0: run {record.run_id}",
        "data     64 training rows; scored by accuracy: 32 reported",
        f"trained  {trained}",
        "steps    2 of 32 rows on cpu, lr 0.002",
        f"accuracy {record.score:.4f} ± {math.sqrt(record.score * (1 - record.score) / 32):.4f}",
        f"record   {tmp_path / 'runs' / record.run_id / 'record.json'}",
    ):
        assert line in out
    for again in ([], ["--quiet"]):
        arguments = [*DIGITS, "adapter=circulant", *SHORT, f"results_dir={tmp_path}", *again]
        code, out, _ = command(monkeypatch, capsys, *arguments)
        assert code == 0 and "already done" in out
    assert out.count("\n") == 1


def test_a_quiet_run_shows_no_progress(monkeypatch, capsys, tmp_path):
    arguments = [option for option in SHORT if not option.startswith("trainer.progress")]
    _, out, _ = command(monkeypatch, capsys, *DIGITS, "adapter=lora", *arguments, f"results_dir={tmp_path}", "--quiet")
    (record,) = recorded(tmp_path)
    assert out.count("\n") == 1 and not record.config.trainer.progress


def test_a_sweep_ends_with_a_table(monkeypatch, capsys, tmp_path):
    """A row for each adapter and rate, with mean and standard deviation over the seeds."""
    sweep = ["-m", *DIGITS, "adapter=circulant", "optimizer.lr=0.001,0.01", "seed=0,1", *SHORT]
    code, out, _ = command(monkeypatch, capsys, *sweep, f"results_dir={tmp_path}")
    assert code == 0
    for lr in (0.001, 0.01):
        scores = [record.score for record in recorded(tmp_path) if record.config.optimizer.lr == lr]
        row = rf"Circulant +vit_digits +digits +accuracy +optimizer.lr={lr} +1,024 "
        assert re.search(row + rf"+{np.mean(scores):.4f} ± {np.std(scores, ddof=1):.4f} \(2 runs\)", out)
    assert "\n  adapter " not in command(monkeypatch, capsys, "--quiet", *sweep, f"results_dir={tmp_path}")[1]


def test_a_multirun_goes_on_after_a_failure_and_tells_it(monkeypatch, capsys, tmp_path):
    code, _, err = command(
        monkeypatch, capsys, "-m", *DIGITS, "adapter=kronecker", "adapter.peft.r=5,4", "seed=0,1", *SHORT,
        f"results_dir={tmp_path}",
    )  # fmt: skip
    assert code == 2
    assert err.count("r=5 does not divide both") == 2
    assert sorted(record.status for record in recorded(tmp_path)) == ["failed", "failed", "success", "success"]


def test_a_sweep_goes_on_after_an_error_and_ends_with_its_table(monkeypatch, capsys, tmp_path):
    from surm_bench.run import train

    fit, seen = train.fit, []

    def once_out_of_memory(*arguments, **options):
        seen.append(1)
        if len(seen) == 1:
            raise RuntimeError("CUDA out of memory")
        return fit(*arguments, **options)

    monkeypatch.setattr(train, "fit", once_out_of_memory)
    sweep = ["-m", *DIGITS, "adapter=circulant", "seed=0,1,2", *SHORT, f"results_dir={tmp_path}"]
    code, out, err = command(monkeypatch, capsys, *sweep)
    assert code == 1 and "(2 runs)" in out
    assert re.search(r"surm-bench: failed: .* seed=0 .*: RuntimeError: CUDA out of memory\n", err)


def write_rte(folder, labels=(0, 1), **renamed: str):
    """RTE's layout with these labels; returns the data folder."""
    rows = {
        "sentence1": ["a cat"] * 80,
        "sentence2": ["a dog"] * 80,
        "label": [labels[i % len(labels)] for i in range(80)],
    }
    rows = {renamed.get(name, name): values for name, values in rows.items()}
    (folder / "rte").mkdir(parents=True)
    for split in ("train", "validation"):
        pyarrow.parquet.write_table(pyarrow.table(rows), folder / "rte" / f"{split}.parquet")
    return folder


def other_weights(folder):
    save_file(
        {"blocks.0.attn.qkv.weight": torch.zeros(9, 3), "cls_token": torch.zeros(1, 1, 3)}, folder / "w.safetensors"
    )
    return folder / "w.safetensors"


BAD = {
    "unknown adapter": (lambda tmp: ["adapter=circulent"], "unknown adapter 'circulent': choose from adalora, "),
    "nearly an adapter": (lambda tmp: ["adapter=circulent"], "; did you mean circulant?"),
    "unknown task": (lambda tmp: ["task=glue/rt"], "unknown task 'glue/rt': choose from digits, glue/cola, "),
    "unknown model": (lambda tmp: ["model=roberta"], "unknown model 'roberta': choose from bert_base, "),
    "rank that does not divide": (
        lambda tmp: [*DIGITS, "adapter=kronecker", "adapter.peft.r=5"], "r=5 does not divide both"),
    "missing data folder": (lambda tmp: [*RTE, f"task.data_dir={tmp}/nowhere"], "validation.parquet: expected"),
    "parquet without the label column": (
        lambda tmp: [*RTE, f"task.data_dir={write_rte(tmp, label='gold')}"], " has no column label; it has "),
    "labels out of range": (
        lambda tmp: [*RTE, f"task.data_dir={write_rte(tmp, labels=(0, 1, 2))}"], "labels 2 are outside 0..1"),
    "weights of another architecture": (
        lambda tmp: [*DIGITS, f"model.weights={other_weights(tmp)}"], "do not have the architecture of vit_digits"),
    "read-only results folder": (
        lambda tmp: [*DIGITS, f"results_dir={(tmp / 'file').write_text('') or tmp / 'file'}/below"], "cannot write to"),
    "task of another kind": (lambda tmp: ["model=vit_digits", "task=grammar/sentiment"], "choose a text model"),
    "rank of LoRA": (lambda tmp: [*DIGITS, "adapter=lora", "adapter.peft.r=0"], "adapter 'lora': "),
    "dropout": (lambda tmp: [*DIGITS, "adapter=circulant", "adapter.peft.dropout=1.5"], "dropout=1.5 is not possible"),
    "weight decay": (lambda tmp: [*DIGITS, "optimizer.weight_decay=-1"], "optimizer.weight_decay=-1.0"),
    "metric": (lambda tmp: [*DIGITS, "task.metric=foo"], "unknown metric 'foo': choose from accuracy, correlation, "),
    "primary metric": (lambda tmp: [*DIGITS, "task.primary_metric=f1"], "'f1': choose from accuracy"),
    "regression": (lambda tmp: [*DIGITS, "task.num_labels=1"], "task.metric='accuracy' does not fit"),
    "missing weights": (lambda tmp: [*DIGITS, f"model.weights={tmp}/none.safetensors"], "does not exist"),
    "infinite rate": (lambda tmp: [*DIGITS, "optimizer.lr=1e400"], "optimizer.lr=inf is not possible: give a finite"),
    "infinite scale": (lambda tmp: [*DIGITS, "adapter.peft.alpha=nan"], "adapter.peft.alpha=nan is not possible"),
    "one beta": (lambda tmp: [*DIGITS, "optimizer.betas=[0.9]"], "optimizer.betas=[0.9] is not possible: give two"),
    "eps of zero": (lambda tmp: [*DIGITS, "optimizer.eps=0"], "optimizer.eps=0.0 is not possible: above 0"),
    "length of images": (lambda tmp: [*DIGITS, "task.max_length=64"], "task.max_length=64 has no effect with "),
    "size of texts": (lambda tmp: [*GRAMMAR, "model.image_size=96"], "model.image_size=96 has no effect with "),
    "name that leaves a folder": (lambda tmp: [*DIGITS, "adapter.name=../up"], "adapter.name='../up' is not possible"),
    "environment in a label": (
        lambda tmp: [*DIGITS, "adapter.label=${oc.env:HOME}"], "would put an environment variable into records: "),
    "generator": (lambda tmp: [*DIGITS, "task.dataset=lexicon"], "'lexicon': choose from digits, grammar"),
    "number for a class": (lambda tmp: [*DIGITS, "adapter.peft._target_=3"], "_target_='3' is not the class of a PEFT"),
    "field the adapter lacks": (lambda tmp: [*DIGITS, "adapter=lora", "+adapter.peft.rank=3"], "adapter 'lora'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(monkeypatch, capsys, tmp_path, case):
    arguments, message = BAD[case]
    given = arguments(tmp_path)
    results = [] if any("results_dir" in argument for argument in given) else [f"results_dir={tmp_path / 'results'}"]
    code, out, err = command(monkeypatch, capsys, *SHORT, *given, *results)
    assert code == 2
    assert err.startswith("surm-bench: ") and message in err
    assert err.count("\n") == 1 and "Traceback" not in out + err


def test_a_loss_that_is_not_finite_is_an_outcome(monkeypatch, capsys, tmp_path):
    """It is recorded and reported like a score, and not run again."""
    arguments = [*DIGITS, "adapter=full", "optimizer.lr=1e30", "optimizer.max_grad_norm=0", *SHORT]
    code, out, err = command(monkeypatch, capsys, *arguments, f"results_dir={tmp_path}")
    assert (code, err) == (0, "") and "diverged, the loss is nan at step 2" in out
    (record,) = recorded(tmp_path)
    assert record.status == "diverged" and record.error.startswith("the loss is nan at step 2")
    code, out, _ = command(monkeypatch, capsys, *arguments, f"results_dir={tmp_path}")
    assert code == 0 and "diverged" in out and "already done" in out


@pytest.mark.parametrize(
    ("stop", "code", "says"),
    [
        (Interrupted(15), 143, "interrupted (SIGTERM after a training step; its state is saved)"),
        (KeyboardInterrupt(), 130, "interrupted; give the same command again to continue"),
    ],
)
def test_an_interruption_is_one_line_and_the_exit_code_of_its_signal(monkeypatch, capsys, stop, code, says):
    def interrupted(*_, **__):
        raise stop

    monkeypatch.setattr(runner, "run", interrupted)
    found, _, err = command(monkeypatch, capsys, *DIGITS)
    assert found == code  # 128 and the number of the signal, as shells have it
    assert says in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("argument", "said"),
    [("trainer.epoch=3", "'trainer.epoch'"), ("seed=abc", "'abc'"), ("+nonsense=1", "nonsense"), ("seed=0,1", "seed")],
)
def test_what_hydra_refuses_is_one_line_too(monkeypatch, capsys, argument, said):
    code, out, err = command(monkeypatch, capsys, argument)
    assert code == 2
    assert err.startswith("surm-bench: ") and said in err and "--cfg job" in err
    assert err.count("\n") == 1 and "Traceback" not in out + err


def test_sweeps_of_hydra_are_left_to_it():
    composition.check_choices(["adapter=glob(linear*)", "adapter=choice(lora,full)", "adapter='lora',\"full\""])
    with pytest.raises(UserError, match="unknown optimizer 'lion': choose from adam, adamw, loko, sgd, surm_glue"):
        composition.check_choices(["optimizer=lion"])


def test_torchrun_with_a_multirun_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = command(monkeypatch, capsys, "-m", "seed=0,1")
    assert code == 2 and "would hang" in err


def test_importing_the_package_or_asking_for_the_config_needs_no_torch():
    light = (
        "import surm_bench.records, surm_bench.report.frames, surm_bench.command.run, surm_bench.experiment.commands"
    )
    heavy = "[m for m in ('torch', 'transformers', 'peft', 'timm') if m in __import__('sys').modules]"
    done = subprocess.run(
        [sys.executable, "-c", f"{light}; print({heavy})"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    shown = subprocess.run(
        [sys.executable, "-m", "surm_bench", "--cfg", "job"], capture_output=True, text=True, check=True
    ).stdout
    assert OmegaConf.create(shown).adapter.name == "circulant"
