"""A few steps of every method against committed losses: numbers that move need a new version, so that ids move too.

A change beyond rounding raises the version of what it changes (adapter.version, task.version, model.version or
surm_bench.config.identity.LOOP_VERSION); then ``python tests/adapters/test_few_steps.py NAME ...`` writes the losses of
that version, of all adapters without a name.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from surm_bench.adapters.build import attach
from surm_bench.adapters.schedule import schedule
from surm_bench.config import composition
from surm_bench.config.composition import resolved
from surm_bench.config.identity import LOOP_VERSION
from surm_bench.run.build import build
from surm_bench.tasks import objective_for
from surm_bench.training import fit

FILE = Path(__file__).with_name("few_steps.json")
BACKBONES = {
    "digits": ["model=vit_digits", "task=digits"],
    "grammar": ["model=roberta_tiny", "task=grammar/acceptability"],
}
STEPS = ["trainer.epochs=2", "trainer.batch_size=16", "task.max_train_samples=64", "task.max_eval_samples=32"]
TEXT_ONLY = ("prefix",)
SMALLER = {"adapter_drop": ["adapter.first_layer=1"]}  # the default is for twelve layers
TOLERANCE = 1e-4


def chosen(adapter: str, backbone: str):
    overrides = [f"adapter={adapter}", *SMALLER.get(adapter, []), *STEPS, "trainer.progress=false", "optimizer.lr=3e-3"]
    return resolved([*BACKBONES[backbone], *overrides])


def few_steps(adapter: str, backbone: str) -> dict:
    """The versions, the mean training losses of two epochs of four steps, and the mean size of the logits then."""
    settings = chosen(adapter, backbone)
    start, data = build(settings)
    model = attach(start.module, start.roles, settings.adapter)
    history = fit(model, data, objective_for(settings.task), settings, hooks=schedule(model))
    size = float(np.abs(history.predictions["reported"]).mean())
    versions = [settings.adapter.version, settings.task.version, settings.model.version, LOOP_VERSION]
    return {"versions": versions, "numbers": [point["train_loss"] for point in history.evaluations] + [size]}


def known() -> dict:
    return json.loads(FILE.read_text())


def test_every_adapter_is_there():
    for name in sorted(known().keys() ^ set(composition.choices("adapter"))):
        pytest.fail(f"adapter {name!r} is in one of configs/adapter and few_steps.json: see the head of this file")


def backbones(adapter: str) -> list[str]:
    return ["grammar"] if adapter in TEXT_ONLY else list(BACKBONES)


@pytest.mark.parametrize(
    ("adapter", "backbone"), [(a, b) for a in composition.choices("adapter") for b in backbones(a)]
)
def test_numbers_move_with_a_version_alone(adapter, backbone):
    if adapter not in known():
        pytest.fail(f"adapter {adapter!r} has no losses yet: python tests/adapters/test_few_steps.py {adapter}")
    expected, found = known()[adapter][backbone], few_steps(adapter, backbone)
    moved = f"{adapter} on {backbone} moved from {expected} to {found}: see the head of this file"
    assert found["versions"] == expected["versions"], moved
    assert found["numbers"] == pytest.approx(expected["numbers"], abs=TOLERANCE), moved


if __name__ == "__main__":
    numbers = known() if sys.argv[1:] else {}
    for name in sys.argv[1:] or composition.choices("adapter"):
        numbers[name] = {kind: few_steps(name, kind) for kind in backbones(name)}
    FILE.write_text(json.dumps(dict(sorted(numbers.items())), indent=1) + "\n")
