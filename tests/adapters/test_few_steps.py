"""Regression: a few steps of every method give the committed losses. Numbers that move need a new version of what
changed, so that the ids of runs move too. The losses are our own output, and so no proof that a method is right: the
oracles are in the other tests of adapters.

A change beyond rounding raises the version of what it changes (adapter.version, task.version, model.version,
optimizer.version or surm_bench.config.identity.LOOP_VERSION); then ``python tests/adapters/test_few_steps.py NAME ...``
writes the losses of that version, of all adapters without a name. The file has all these versions except the
optimiser's: every run here uses AdamW.
"""

import copy
import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from surm_bench.adapters.build import attach
from surm_bench.adapters.training_hooks import training_hooks
from surm_bench.config import composition
from surm_bench.config.composition import resolved
from surm_bench.config.identity import LOOP_VERSION
from surm_bench.models import Backbone
from surm_bench.run.build import build_model
from surm_bench.tasks import RawTask, TaskData, load_task, objective_for, prepare
from surm_bench.training import fit

FILE = Path(__file__).with_name("few_steps.json")
BACKBONES = {
    "digits": ["model=vit_digits", "task=digits"],
    "grammar": ["model=roberta_tiny", "task=grammar/acceptability"],
}
STEPS = ["trainer.epochs=2", "trainer.batch_size=16", "task.max_train_samples=64", "task.max_eval_samples=32"]
TEXT_ONLY = ("prefix",)
ON_BOTH = ("adapter_houlsby", "circulant", "lora")
SMALLER = {"adapter_drop": ["adapter.first_layer=1"]}  # the default is for twelve layers
TOLERANCE = 1e-4


def chosen(adapter: str, backbone: str):
    overrides = [f"adapter={adapter}", *SMALLER.get(adapter, []), *STEPS, "trainer.progress=false", "optimizer.lr=3e-3"]
    return resolved([*BACKBONES[backbone], *overrides])


@cache
def pretrained(backbone: str) -> tuple[Backbone, torch.Tensor, RawTask]:
    """The model, the state of torch's random stream behind it, and the rows; read only once."""
    settings = chosen("lora", backbone)
    model = build_model(settings)
    return model, torch.get_rng_state(), load_task(settings.task, settings.seed)


@cache
def examples(backbone: str, virtual_tokens: int) -> TaskData:
    model, _, raw = pretrained(backbone)
    return prepare(raw, model.processor, virtual_tokens)


def few_steps(adapter: str, backbone: str) -> dict:
    """The versions, the mean training losses of two epochs of four steps, and the mean size of the logits then."""
    settings = chosen(adapter, backbone)
    start, random_state, _ = pretrained(backbone)
    data = examples(backbone, settings.adapter.peft.get("num_virtual_tokens") or 0)
    torch.set_rng_state(random_state)
    model = attach(copy.deepcopy(start.module), start.roles, settings.adapter)
    history = fit(model, data, objective_for(settings.task), settings, hooks=training_hooks(model))
    size = float(np.abs(history.predictions["reported"]).mean())
    versions = [settings.adapter.version, settings.task.version, settings.model.version, LOOP_VERSION]
    return {"versions": versions, "numbers": [point["train_loss"] for point in history.evaluations] + [size]}


def known() -> dict:
    return json.loads(FILE.read_text())


def test_every_adapter_has_committed_losses():
    for name in sorted(known().keys() ^ set(composition.choices("adapter"))):
        pytest.fail(f"adapter {name!r} is in one of configs/adapter and few_steps.json: see the head of this file")


def backbones(adapter: str) -> list[str]:
    return ["grammar"] if adapter in TEXT_ONLY else list(BACKBONES)


def cases():
    """Every adapter on one backbone, and a few on both, in every run of the tests."""
    for adapter in composition.choices("adapter"):
        for backbone in backbones(adapter):
            quick = adapter in ON_BOTH or backbone == backbones(adapter)[0]
            yield pytest.param(adapter, backbone, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize(("adapter", "backbone"), cases())
def test_regression_the_losses_of_a_version_stay(adapter, backbone):
    if adapter not in known():
        pytest.fail(f"adapter {adapter!r} has no losses yet: python tests/adapters/test_few_steps.py {adapter}")
    expected, actual = known()[adapter][backbone], few_steps(adapter, backbone)
    moved = f"{adapter} on {backbone} moved from {expected} to {actual}: see the head of this file"
    assert actual["versions"] == expected["versions"], moved
    assert actual["numbers"] == pytest.approx(expected["numbers"], abs=TOLERANCE), moved


if __name__ == "__main__":
    numbers = known() if sys.argv[1:] else {}
    for name in sys.argv[1:] or composition.choices("adapter"):
        numbers[name] = {kind: few_steps(name, kind) for kind in backbones(name)}
    FILE.write_text(json.dumps(dict(sorted(numbers.items())), indent=1) + "\n")
