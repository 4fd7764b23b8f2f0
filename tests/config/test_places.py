import random

import pytest

from surm_bench.command.errors import exit_code
from surm_bench.command.main import command
from surm_bench.command.run import split
from surm_bench.config.composition import editable, resolved, typed, value_of
from surm_bench.config.places import override_of, with_quotes
from surm_bench.errors import UserError
from surm_bench.trained.changes import changed_config

LETTERS = [*",='()#[]{}$ \\\"üa/.:*?~@!%&;|<>`0", "${", "\\$", "oc.env:HOME"]
ODD = "we ird,d='(a)#[b]$c{d}${e}ü=x"


def made_up(count: int) -> list[str]:
    draw = random.Random(0)
    return ["r" + "".join(draw.choices(LETTERS, k=draw.randint(1, 9))) for _ in range(count)]


def test_an_override_gives_a_key_the_path_that_was_meant():
    for path in ["null", "007", "1e5", "true", "inf", ".", "~", "~/data", "a/b", ODD, *made_up(200)]:
        assert value_of(override_of("task.data_dir", path)) == path


def test_a_path_is_not_taken_apart_later():
    config = resolved(["model=roberta_tiny", "task=grammar/sentiment"])
    for path in [ODD, *made_up(20)]:
        assert typed(editable(config.having(results_dir=path))).results_dir == path


@pytest.mark.parametrize(
    ("typed", "taken"),
    [
        ("results_dir=a,b", "results_dir='a,b'"),
        ("task.data_dir=a=b(c)", "task.data_dir='a=b(c)'"),
        ("model.weights='a b'", "model.weights='a b'"),
        ("task.data_dir=null", "task.data_dir=null"),
        ("task.data_dir=${oc.env:HOME}/x", "task.data_dir='${oc.env:HOME}/x'"),
        ("seed=1,2", "seed=1,2"),
    ],
)
def test_what_was_typed_is_quoted_where_it_is_a_path(typed, taken):
    assert with_quotes(typed) == taken


def test_a_sweep_over_paths_stays_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert with_quotes("task.data_dir=a,b", sweep=True) == "task.data_dir=a,b"
    (tmp_path / "a,b").mkdir()
    assert with_quotes("task.data_dir=a,b", sweep=True) == "task.data_dir='a,b'"


def test_the_same_path_for_what_was_trained():
    config, path = resolved(["model=roberta_tiny", "task=grammar/sentiment"]), "we ird,d='(a)#[b]$c{d}ü=x"
    assert changed_config(config, [f"task.data_dir={path}"]).task.data_dir == path
    assert changed_config(config.having(results_dir=ODD), ["trainer.workers=1"]).results_dir == ODD


@pytest.mark.parametrize("key", ["results_dir", "task.data_dir", "model.weights"])
def test_an_empty_path_is_refused(key, capsys):
    assert exit_code(command, ["run", "model=vit_digits", "task=digits", f"{key}="]) == 2
    assert f"{key}= is empty: name a folder" in capsys.readouterr().err


def test_flags_stand_anywhere():
    wanted = (["adapter=lora", "seed=0"], ["--config-dir", "x", "-m"])
    assert split(["adapter=lora", "--config-dir", "x", "seed=0", "-m"]) == wanted
    assert split(["--config-dir", "x", "adapter=lora", "-m", "seed=0"]) == wanted
    assert split(["--info", "adapter=lora"]) == (["adapter=lora"], ["--info"])
    assert split(["--info", "all", "adapter=lora"]) == (["adapter=lora"], ["--info", "all"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "x", "adapter=lora"], "run has no option --data: write key=value"),
        (["adapter=lora", "--config-dir"], "--config-dir needs a value after it"),
    ],
)
def test_flags_that_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        split(arguments)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.workers=100000", "trainer.workers=100000 is not possible: at most"),
        ("trainer.workers=99999999999999999999", "give a whole number of at most 64 bits"),
        ("trainer.batch_size=-99999999999999999999", "give a whole number of at most 64 bits"),
    ],
)
def test_numbers_beyond_reason(override, message, tmp_path, capsys):
    assert exit_code(command, ["run", "model=vit_digits", "task=digits", override, f"results_dir={tmp_path}"]) == 2
    assert message in capsys.readouterr().err


def test_a_name_that_is_too_long_is_one_line(tmp_path, capsys):
    subdir = f"hydra.sweep.subdir={'a' * 300}"
    assert exit_code(command, ["run", "-m", "model=vit_digits", "task=digits", subdir, f"results_dir={tmp_path}"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "surm-bench" in line]
    assert "File name too long: name another path" in line
