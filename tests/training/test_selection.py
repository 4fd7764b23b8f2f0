"""Early stopping and the best epoch: by rows held out, by hand; and that an interruption loses neither."""

import re
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from support.classifier import fitted, held_out_score
from support.made_up import record
from support.runs import DIGITS, GRAMMAR, begin, check_config, folder_of, start, stop, wait_for

from surm_bench.command.main import command
from surm_bench.config import composition
from surm_bench.errors import UserError
from surm_bench.report.best_epoch import kept_note
from surm_bench.tasks import Classification
from surm_bench.training import Checkpoint, Hooks, Interrupted
from surm_bench.training.selection import is_best, is_exhausted

HELD_OUT = ["task.validation=holdout", "trainer.max_steps=null"]
# A rate at which the best epoch is neither the first nor the last.
BEST = [*HELD_OUT, "trainer.epochs=6", "optimizer.lr=0.05", "optimizer.schedule=constant", "trainer.keep_best=true"]


def evaluations(*scores: float) -> list[dict]:
    """Of epochs with these scores on rows held out, and the opposite ones on the reported split."""
    return [
        {"epoch": i, "scores": {"reported": {"accuracy": 1 - s}, "validation": {"accuracy": s}}}
        for i, s in enumerate(scores)
    ]


@pytest.mark.parametrize(
    ("scores", "patience", "epochs"),
    [
        ((0.5, 0.6, 0.6, 0.5, 0.9), 2, 4),  # equal is no better
        ((0.5, 0.6, 0.55, 0.7, 0.6, 0.6, 0.6, 0.8), 3, 7),
        ((0.5, 0.4, 0.6), 1, 2),
        ((0.5, 0.6, 0.7), 1, 3),
        ((0.9, 0.1, 0.1, 0.1), None, 4),
    ],
)
def test_training_ends_after_as_many_evaluations_in_vain(scores, patience, epochs):
    objective, seen = Classification("accuracy", "accuracy"), 0
    for seen in range(1, len(scores) + 1):
        if is_exhausted(objective, evaluations(*scores[:seen]), patience):
            break
    assert seen == epochs


def test_the_first_of_equal_epochs_is_the_best():
    objective = Classification("accuracy", "accuracy")
    scores = (0.5, 0.6, 0.6, 0.5, 0.7)
    best = [is_best(objective, evaluations(*scores[:n])) for n in range(1, 6)]
    assert best == [True, True, False, False, True]


def test_what_is_kept_is_the_best_epochs_and_training_is_the_same():
    """The whole run shows which epoch is best; a run that ends there has the parameters that are kept."""
    model, whole = fitted({})
    scores = [one["scores"]["validation"]["accuracy"] for one in whole.evaluations]
    best = scores.index(max(scores))
    assert 0 < best < 11
    kept, history = fitted({"keep_best": True})
    assert history.evaluations == whole.evaluations
    ending, until = fitted({"max_steps": whole.evaluations[best]["step"]})
    for found, expected in zip(kept.parameters(), ending.parameters(), strict=True):
        assert torch.equal(found, expected)
    assert not torch.equal(kept.head.weight, model.head.weight)
    for split, logits in until.predictions.items():
        assert np.array_equal(history.predictions[split], logits)
    assert held_out_score(kept) == pytest.approx(max(scores)) != pytest.approx(held_out_score(model))


def test_early_stopping_ends_the_run_that_goes_on_without_it():
    """By hand on the scores of the whole run: the first evaluation that is the second in a row without a new best."""
    whole = fitted({})[1].evaluations
    scores = [one["scores"]["validation"]["accuracy"] for one in whole]
    last = next(i for i in range(2, 12) if max(scores[i - 1 : i + 1]) <= max(scores[: i - 1]))
    assert last < 11
    assert fitted({"patience": 2})[1].evaluations == whole[: last + 1]


class Stopper(Hooks):
    def __init__(self, step: int) -> None:
        self.stop = step

    def after_step(self, step: int) -> None:
        if step == self.stop:
            signal.raise_signal(signal.SIGTERM)


def test_a_run_in_pieces_keeps_the_best_so_far(tmp_path):
    """Interrupted in every epoch, before and after the best one; each piece starts with other parameters."""
    options = {"keep_best": True, "patience": 3}
    whole, history = fitted(options)
    steps = [one["step"] for one in history.evaluations]
    assert len(steps) > 4
    for step in [number for at in steps for number in (at, at + 3)][:-1]:
        with pytest.raises(Interrupted):
            fitted(options, Checkpoint(tmp_path, "code"), Stopper(step))
    found, pieces = fitted(options, Checkpoint(tmp_path, "code"))
    assert pieces.evaluations == history.evaluations and len(pieces.segments) == 2 * len(steps)
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), whole.parameters(), strict=True))
    for split, logits in history.predictions.items():
        assert np.array_equal(pieces.predictions[split], logits)


@pytest.fixture(scope="module")
def results_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.mark.parametrize(
    "overrides",
    [
        [*DIGITS, "adapter=circulant"],
        pytest.param([*GRAMMAR, "adapter=lora"], marks=pytest.mark.slow),
    ],
    ids=lambda overrides: overrides[4] if overrides[4:] else overrides[-1],
)
def test_the_adapter_that_is_kept_has_the_best_recorded_score(overrides, results_dir, capsys):
    """Loaded again and scored by the command."""
    found = start(results_dir, *BEST, *overrides)
    chosen = [one["scores"]["validation"][found.primary_metric] for one in found.history]
    best = chosen.index(max(chosen))
    assert found.kept == "best" and found.selection == "validation"
    assert found.epochs["best"]["epoch"] == best < 5
    of_epoch = found.history[best]["scores"]
    assert found.score == of_epoch["reported"][found.primary_metric]
    run = folder_of(results_dir, found)
    assert command(["evaluate", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{split:<12} {metric:<22} {value:.4f}  (record: {value:.4f})"
        for split, scores in of_epoch.items()
        for metric, value in scores.items()
    ]
    rows = pd.read_parquet(run / "predictions.parquet").query("split == 'validation'")
    if found.primary_metric == "accuracy":
        assert (rows["label"] == rows["prediction"]).mean() == pytest.approx(max(chosen))


def test_a_run_that_keeps_the_last_epoch_is_another_run(results_dir):
    best, last = (start(results_dir, *DIGITS, "adapter=circulant", *BEST[:-1], *more) for more in (BEST[-1:], []))
    assert best.run_id != last.run_id and best.history == last.history
    weights = [load_file(folder_of(results_dir, one) / "adapter" / "adapter_model.safetensors") for one in (best, last)]
    assert any(not torch.equal(weights[0][name], tensor) for name, tensor in weights[1].items())


@pytest.mark.slow
def test_killed_without_warning_nothing_is_lost(tmp_path):
    overrides = [
        *DIGITS,
        "adapter=circulant",
        *BEST,
        "trainer.epochs=30",
        "trainer.patience=12",
        "trainer.save_seconds=0",
    ]
    whole = start(tmp_path / "whole", *overrides)
    folder = tmp_path / "stopped"
    process = begin(folder, *overrides)
    log = folder_of(folder, whole) / "run.log"
    wait_for(lambda: (log.exists() and log.read_text().count("epoch") > 7) or not process.is_alive(), 300)
    stop(process, signal.SIGKILL)
    assert process.exitcode == -signal.SIGKILL
    resumed = start(folder, *overrides)
    assert resumed.history == whole.history and resumed.files == whole.files
    assert len(resumed.segments) == 2 and resumed.segments[1]["from_step"] > 0


def test_the_log_of_a_run_says_that_it_stopped_early(results_dir):
    overrides = [*DIGITS, "adapter=circulant", "task.validation=holdout", "trainer.patience=1", "trainer.epochs=40"]
    record = start(results_dir, *overrides, "optimizer.lr=1e-9", "optimizer.head_lr=1e-9", "trainer.max_steps=null")
    step = record.history[-1]["step"]
    log = (folder_of(results_dir, record) / "run.log").read_text()
    assert re.search(rf"stopped early at step {step} of \d+: no new best in 1 evaluations", log)


def test_tables_say_which_rows_are_of_the_best_epoch():
    labelled = {"config": {"adapter": {"label": "LoRA"}}}
    assert kept_note([record(**labelled)]) == ""
    note = kept_note([record(**labelled, kept="best")])
    assert note == "These rows show the best epoch by the score on held-out rows, not the last: LoRA."


@pytest.mark.parametrize(
    ("trainer", "said"), [({"patience": 3}, "patience=3"), ({"keep_best": True}, "keep_best=true")]
)
def test_the_reported_split_never_chooses(trainer, said):
    check_config(trainer=trainer, validation="holdout")
    with pytest.raises(UserError, match=f"trainer.{said} would choose an epoch by the reported split") as error:
        check_config(trainer=trainer, validation="dev")
    assert "\n" not in str(error.value)


def test_no_patience_at_all():
    with pytest.raises(UserError, match="trainer.patience=0 is not possible: at least 1, or null"):
        check_config(trainer=dict(patience=0))


@pytest.mark.parametrize("adapter", ["adalora", "dora_dynamic", "lora2"])
def test_no_epoch_is_chosen_while_ranks_are_still_cut(adapter):
    config = composition.resolved([*DIGITS, f"adapter={adapter}", "task.validation=holdout"])
    config.check()
    for trainer, said in (({"patience": 3}, "patience=3"), ({"keep_best": True}, "keep_best=true")):
        with pytest.raises(UserError, match=f"trainer.{said} is not possible with {adapter}, which cuts ranks"):
            config.having(trainer=trainer).check()
