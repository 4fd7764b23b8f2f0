"""Whatever a configuration is changed to, a run of it ends as a record or as one line before it trains."""

import dataclasses
import os
import typing
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.runs import DIGITS, GRAMMAR, start

from surm_bench.config import Config
from surm_bench.config.composition import compose
from surm_bench.errors import UserError
from surm_bench.run import train

EXAMPLES = int(os.environ.get("SURM_BENCH_EXAMPLES", "15"))  # 1000 where somebody looks for new ones
SMALLEST = ["trainer.max_steps=2", "trainer.progress=false", "task.max_train_samples=64", "task.max_eval_samples=16"]
ADAPTERS = ("circulant", "ldr", "kronecker", "lora", "adapter_houlsby", "c3a", "vera", "dora_dynamic", "linear_probe")
LEFT_OUT = {  # places, what needs the network or a compiler, and processes that only cost time
    *("results_dir", "task.data_dir", "model.weights", "model.source", "task.source", "tracking.kind"),
    *("trainer.compile", "trainer.workers", "trainer.progress"),
}
NUMBERS = ["-1", "0", "1", "2", "3", "7", "0.5", "1e-3", "1e400", "-1e400", "nan", "1e30", "1e-30", "1000000000000"]
WORDS = ["''", "null", "true", "none", "../up", "/etc", "a/b", "no", "[1]", "{a: 1}", "'${oc.env:HOME}'", "é", "x,y"]


def leaves(kind: type, prefix: str = "") -> list[str]:
    """Every key of the schema."""
    hints = typing.get_type_hints(kind)
    found = []
    for field in dataclasses.fields(kind):
        inner = hints[field.name]
        name = f"{prefix}{field.name}"
        found += leaves(inner, f"{name}.") if dataclasses.is_dataclass(inner) else [name]
    return found


def keys_of(adapter: str) -> list[str]:
    fields = compose([f"adapter={adapter}"]).adapter.peft
    return [f"adapter.peft.{name}" for name in fields]


KEYS = sorted(set(leaves(Config)) - LEFT_OUT - {"adapter.peft"})


@st.composite
def overrides(draw) -> list[str]:
    """A small run with one to three keys changed to anything."""
    adapter = draw(st.sampled_from(ADAPTERS))
    keys = draw(st.lists(st.sampled_from(KEYS + 3 * keys_of(adapter)), min_size=1, max_size=3, unique=True))
    changed = [f"{key}={draw(st.sampled_from(NUMBERS + WORDS))}" for key in keys]
    return [*draw(st.sampled_from([DIGITS, GRAMMAR])), f"adapter={adapter}", *SMALLEST, *changed]


@settings(
    max_examples=EXAMPLES,
    phases=[Phase.generate],  # a case is three keys at most: there is little to shrink
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(overrides())
def test_every_override_runs_or_is_refused_before_training(changed):
    with mock.patch.object(train, "fit", wraps=train.fit) as training, TemporaryDirectory() as folder:
        try:
            assert start(Path(folder), *changed, short=False).status in ("success", "diverged")
        except UserError as error:
            assert "\n" not in str(error) and not training.called
