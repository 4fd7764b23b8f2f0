"""A run that is interrupted and goes on is, to the bit, the run that was not."""

import logging
import os
import signal
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors import safe_open
from submitit.core.utils import UncompletedJobError
from support.cases import slow_but
from support.resumed import Stopper, assert_same, disturb, small

from surm_bench.adapters.build import attach
from surm_bench.adapters.training_hooks import training_hooks
from surm_bench.config import Config
from surm_bench.config.composition import compose
from surm_bench.run.build import build
from surm_bench.run.prefix_cache import cache_prefix
from surm_bench.tasks import objective_for
from surm_bench.training import Checkpoint, History, Hooks, Interrupted, fit, state
from surm_bench.training.stop import StopSignals

DIGITS = ["model=vit_digits", "task=digits"]
GRAMMAR = ["model=roberta_tiny", "task=grammar/acceptability"]
# 90 examples in batches of 16: 6 steps an epoch
SHORT = ["task.max_train_samples=90", "task.max_eval_samples=40", "trainer.batch_size=16", "trainer.progress=false"]
RUNS = {
    "dropout, batches by length": [*GRAMMAR, "adapter=lora", "adapter.peft.lora_dropout=0.3"],
    "adalora": [*DIGITS, "adapter=adalora"],
    "dora_dynamic": [*DIGITS, "adapter=dora_dynamic", "adapter.peft.interval=2"],
    "lora2": [*DIGITS, "adapter=lora2"],
    "factors of the weight": [*DIGITS, "adapter=lora_xs"],  # singular vectors, whose signs differ between machines
    "cached prefix": [*DIGITS, "adapter=circulant", "adapter.first_layer=2", "trainer.cache_prefix=true"],
    "head_lr": [*DIGITS, "adapter=kronecker", "optimizer.head_lr=0.001", "optimizer.weight_decay=0.1"],
    "sgd": [*DIGITS, "adapter=lora", "optimizer=sgd", "optimizer.lr=0.01", "optimizer.schedule=cosine"],
    "loko": [*GRAMMAR, "adapter=lora", "adapter.peft.r=1", "optimizer=loko"],
    "bf16": [*DIGITS, "adapter=toeplitz", "trainer.precision=bf16", "optimizer=adam"],
    "images changed at random": [*DIGITS, "adapter=circulant", "task.augment=flip_and_shift"],
    "evaluated seldom": [*DIGITS, "adapter=adapter_circulant", "trainer.eval_steps=7", "task.validation=holdout"],
}


@cache
def composed(*overrides: str) -> Config:
    return OmegaConf.to_object(compose(overrides))


def train(
    overrides: list[str], checkpoint: Checkpoint | None = None, **stop: int
) -> tuple[History, dict[str, torch.Tensor]]:
    """As the runner does it. Where a state is to be read, the parameters start elsewhere: it has them all."""
    settings = composed(*overrides, *SHORT)
    backbone, data = build(settings)
    model = trained = attach(backbone.module, backbone.roles, settings.adapter)
    hooks = Stopper(training_hooks(model) or Hooks(), **stop)
    if settings.trainer.cache_prefix:
        trained, data = cache_prefix(model, data, settings.trainer)
    if checkpoint is not None and checkpoint.file.exists():
        disturb(model)
    objective = objective_for(settings.task)
    history = fit(trained, data, objective, settings, hooks=hooks, log=hooks.log, checkpoint=checkpoint)
    return history, {name: p.detach().clone() for name, p in model.named_parameters()}


QUICK = (
    *("dropout, batches by length", "adalora", "cached prefix", "loko", "images changed at random"),
    "factors of the weight",
)


@pytest.mark.parametrize("run", slow_but(QUICK, RUNS))
def test_a_run_in_many_pieces_is_the_run_in_one(run, tmp_path):
    """Stopped after its first step, at the end of an epoch, just after an evaluation, in between, and at its end."""
    overrides = [*RUNS[run], "trainer.epochs=3"]
    whole = train(overrides)
    evaluated = whole[0].evaluations[0]["step"]
    stops = [{"step": 1}, {"step": 6}, {"output": evaluated}, {"step": 15}, {"step": 18}, {"output": 18}]
    for number, stop in enumerate(stops):
        with pytest.raises(Interrupted) as interrupted:
            train(overrides, Checkpoint(tmp_path, "code", about={"host": number}), **stop)
        assert interrupted.value.signal_number == signal.SIGTERM
    pieces = train(overrides, Checkpoint(tmp_path, "code", about={"host": len(stops)}))
    assert_same(pieces, whole)
    ends = [1, 6, evaluated, 15, 18, 18, 18]
    found = [(one["host"], one["from_step"], one["to_step"]) for one in pieces[0].segments]
    assert found == list(zip(range(7), [0, *ends[:-1]], ends, strict=True))
    assert sum(one["train_seconds"] for one in pieces[0].segments) == pytest.approx(pieces[0].train_seconds, rel=0.05)


@pytest.mark.parametrize("stop", [{"step": 9}, {"step": 10}])
def test_a_run_that_ends_within_an_epoch(stop, tmp_path):
    overrides = [*GRAMMAR, "adapter=circulant", "trainer.epochs=5", "trainer.max_steps=10"]
    with pytest.raises(Interrupted):
        train(overrides, Checkpoint(tmp_path, "code"), **stop)
    assert_same(train(overrides, Checkpoint(tmp_path, "code")), train(overrides))


# --- the state on disk ------------------------------------------------------------------------------------------------


def often(folder: Path, monkeypatch) -> Checkpoint:
    """Saves after every step."""
    monkeypatch.setattr(state, "PAUSE", 0)
    return Checkpoint(folder, "code", seconds=0)


def fail() -> None:
    raise ZeroDivisionError


def test_what_is_saved_by_time_outlives_a_death_without_warning(tmp_path, monkeypatch):
    with pytest.raises(ZeroDivisionError):
        small(often(tmp_path, monkeypatch), Stopper(Hooks(), 17, act=fail))
    went_on = small(Checkpoint(tmp_path, "code"))
    assert_same(went_on, small())
    assert [(one["from_step"], one["to_step"]) for one in went_on[0].segments] == [(0, 16), (16, 26)]


def test_saving_waits_its_time_and_takes_a_fiftieth_at_most(tmp_path, monkeypatch):
    """By a clock of ours: saving takes 3 s, so that the next time is 150 s later, though 60 were asked for."""
    now = took = 0.0
    monkeypatch.setattr(state.time, "monotonic", lambda: now)
    checkpoint, save = Checkpoint(tmp_path, "code"), state.save_file

    def slow(*arguments, **given):
        nonlocal now
        now += took
        save(*arguments, **given)

    monkeypatch.setattr(state, "save_file", slow)
    for began, seconds, following in ((60.0, 3.0, 213.0), (213.0, 0.5, 273.5)):
        now, took = began - 0.1, seconds
        assert not checkpoint.due()
        now = began
        assert checkpoint.due()
        checkpoint.write({"a": torch.zeros(1)})
        now = following - 0.1
        assert not checkpoint.due()
        now = following
        assert checkpoint.due()


def test_the_state_is_tensors_and_json(tmp_path):
    kept = {
        "a": [1, 0.1, float("nan"), None, "x", (2, 3)],
        "b": {"c": torch.arange(3), "d": torch.tensor(1.5)},
        "e": {},
    }
    checkpoint = Checkpoint(tmp_path, "code")
    checkpoint.write(kept)
    found = checkpoint.read()
    assert np.isnan(found["a"].pop(2)) and found["a"] == [1, 0.1, None, "x", [2, 3]] and found["e"] == {}
    assert torch.equal(found["b"]["c"], torch.arange(3)) and found["b"]["d"].item() == 1.5
    with safe_open(checkpoint.file, "pt") as file:
        assert set(file.keys()) == {"/b/c", "/b/d"}
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]
    checkpoint.clear()
    assert not tmp_path.exists() and checkpoint.read() is None
    checkpoint.clear()


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flipped(file: Path) -> None:
    """A bit of the last number of a tensor, which safetensors reads as another number."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def foreign(file: Path) -> None:
    Checkpoint(file.parent, "other code").write({"a": torch.zeros(1)})


def without_header(file: Path) -> None:
    state.save_file({"a": torch.zeros(1)}, file)


@pytest.mark.parametrize("damage", [truncated, flipped, foreign, without_header, lambda file: file.write_bytes(b"")])
def test_a_state_that_cannot_be_continued_is_told_and_replaced(damage, tmp_path, caplog):
    with pytest.raises(Interrupted):
        small(Checkpoint(tmp_path, "code"), Stopper(Hooks(), 5))
    damage(tmp_path / "state.safetensors")
    with caplog.at_level(logging.WARNING), pytest.raises(Interrupted):
        small(Checkpoint(tmp_path, "code"), Stopper(Hooks(), 4), disturbed=False)  # it has to start by itself
    (line,) = caplog.messages
    assert "training starts from the beginning" in line and "\n" not in line
    went_on = small(Checkpoint(tmp_path, "code"))
    assert [one["to_step"] for one in went_on[0].segments] == [4, 26]
    assert_same(went_on, small())


def test_a_state_half_written_is_not_read(tmp_path, monkeypatch):
    """The process dies while it writes the second one: the first is still there, whole."""
    checkpoint = Checkpoint(tmp_path, "code")
    checkpoint.write({"step": 1, "a": torch.ones(1000)})

    def half(tensors, file, metadata):
        save(tensors, file, metadata)
        truncated(Path(file))
        fail()

    save = state.save_file
    monkeypatch.setattr(state, "save_file", half)
    with pytest.raises(ZeroDivisionError):
        checkpoint.write({"step": 2, "a": torch.ones(1000)})
    found = Checkpoint(tmp_path, "code").read()
    assert found["step"] == 1 and found["a"].sum() == 1000


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM"])
def test_a_signal_is_noted_once_and_handlers_come_back(name):
    seen, number = [], getattr(signal, name)
    earlier = signal.signal(number, lambda *_: seen.append(name))
    try:
        handler = signal.getsignal(number)
        with StopSignals() as signals:
            signal.raise_signal(number)
            assert signals.received == number and seen == []
            signal.raise_signal(number)  # the second acts as it would outside
            assert seen == [name]
            signals.received = None
        assert signal.getsignal(number) is handler and seen == [name]
        with StopSignals() as signals:
            signal.raise_signal(number)
        assert seen == [name, name]  # nobody looked: it is handed on
    finally:
        signal.signal(number, earlier)


@pytest.mark.parametrize("exits", [True, False])
def test_a_handler_of_somebody_elses_decides_once_the_state_is_saved(tmp_path, exits):
    """submitit's for SIGUSR2 queues the job again and exits; its one for SIGTERM returns, and the run goes on."""
    saved = []

    def handler(*_) -> None:
        saved.append((tmp_path / "state.safetensors").exists())
        if exits:
            sys.exit(3)

    earlier = signal.signal(signal.SIGUSR2, handler)
    stopper = Stopper(Hooks(), 5, act=lambda: signal.raise_signal(signal.SIGUSR2))
    try:
        if exits:
            with pytest.raises(SystemExit):
                small(Checkpoint(tmp_path, "code"), stopper)
        else:
            assert_same(small(Checkpoint(tmp_path, "code"), stopper), small())
        assert saved == [True] and signal.getsignal(signal.SIGUSR2) is handler
    finally:
        signal.signal(signal.SIGUSR2, earlier)
    if exits:
        assert_same(small(Checkpoint(tmp_path, "code")), small())


def test_a_handler_that_fails_is_an_interruption(tmp_path):
    """submitit's for SIGUSR2 raises an error if the job was queued again too often: the run itself has not failed."""

    def handler(*_) -> None:
        raise UncompletedJobError("Job not requeued because: timed-out too many times.")

    earlier = signal.signal(signal.SIGUSR2, handler)
    try:
        with pytest.raises(Interrupted):
            small(Checkpoint(tmp_path, "code"), Stopper(Hooks(), 5, act=lambda: signal.raise_signal(signal.SIGUSR2)))
    finally:
        signal.signal(signal.SIGUSR2, earlier)
    assert_same(small(Checkpoint(tmp_path, "code")), small())


def test_the_second_interrupt_from_the_keyboard_ends_at_once(tmp_path):
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as interrupt:
        small(Checkpoint(tmp_path, "code"), Stopper(Hooks(), 3, act=twice))
    assert not isinstance(interrupt.value, Interrupted) and not list(tmp_path.iterdir())


def test_without_a_checkpoint_a_signal_acts_at_once():
    with pytest.raises(KeyboardInterrupt) as interrupt:
        small(hooks=Stopper(Hooks(), 3, act=lambda: signal.raise_signal(signal.SIGINT)))
    assert not isinstance(interrupt.value, Interrupted)


def test_what_is_ignored_stays_ignored():
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            signal.raise_signal(signal.SIGHUP)
            assert signals.received is None
    finally:
        signal.signal(signal.SIGHUP, earlier)


def test_another_thread_trains_without_handlers(tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(small(Checkpoint(tmp_path, "code"))))
    thread.start()
    thread.join()
    assert_same(found[0], small())


# --- processes --------------------------------------------------------------------------------------------------------


def python(code: str, *before: str, folder: Path) -> list[str]:
    script = folder / "script.py"
    paths = [*map(str, Path(__file__).parents[:2]), os.getcwd()]
    script.write_text(f"import sys\nsys.path[:0] = {paths!r}\n{code}")
    return [sys.executable, *before, str(script)]


@pytest.mark.slow
def test_sigterm_from_outside(tmp_path):
    code = f"""
import time
from support.resumed import *

class Slow(Hooks):
    def after_step(self, step):
        print(step, flush=True)
        time.sleep(0.2)

small(Checkpoint({str(tmp_path / "state")!r}, "code"), Slow())
"""
    process = subprocess.Popen(python(code, folder=tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.stdout.readline().strip() != "5":
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGTERM)
    _, output = process.communicate(timeout=300)
    assert process.returncode != 0 and "Interrupted: SIGTERM" in output
    went_on = small(Checkpoint(tmp_path / "state", "code"))
    assert 5 <= went_on[0].segments[0]["to_step"] <= 7
    assert_same(went_on, small())


@pytest.mark.slow
def test_two_processes_stop_and_go_on_together(tmp_path):
    """One of them gets a signal, in the second epoch; both do, at the next step where they meet."""
    code = f"""
from pathlib import Path
from accelerate import PartialState
from support.resumed import *
from surm_bench.training import Interrupted

rank = PartialState(cpu=True).process_index
folder = Path({str(tmp_path / "state")!r})
whole = small()
try:
    small(Checkpoint(folder, "code"), Stopper(Hooks(), 8 if rank == 1 else None))
except Interrupted as interrupted:
    assert interrupted.signal_number == signal.SIGTERM
else:
    sys.exit("not interrupted")
PartialState().wait_for_everyone()
went_on = small(Checkpoint(folder, "code"))
assert_same(went_on, whole)
assert [one["to_step"] for one in went_on[0].segments] == [10, 14], went_on[0].segments
(folder.parent / f"agreed{{rank}}").touch()
"""
    launch = python(code, "-m", "torch.distributed.run", "--nproc_per_node", "2", folder=tmp_path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(launch, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / f"agreed{rank}").exists() for rank in (0, 1))
