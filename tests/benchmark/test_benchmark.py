"""The benchmark measures what it says: ratios, allocations, verdicts; its cases agree. No test looks at a time."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from surm_bench.benchmark import harness, layer, networks
from surm_bench.benchmark.main import measure_part, write
from surm_bench.benchmark.memory import step_peak
from surm_bench.benchmark.parts import PARTS
from surm_bench.benchmark.plan import QUICK, STRUCTURED
from surm_bench.benchmark.setting import Setting
from surm_bench.benchmark.tables import target_table
from surm_bench.benchmark.timing import compare, take_turns
from surm_bench.structured import STRUCTURES
from surm_bench.structured.chunks import CHUNK
from surm_bench.structured.routes import routes

TINY = replace(
    QUICK, side=16, tokens=8, rounds=1, layer_rounds=1, batch=1, growth_rounds=1, sides=(8, 16), tokens_at_sides=4,
    numbers_of_tokens=(2, 8), numerics_sides=(9, 16), unit_cost_sides=(16,),
)  # fmt: skip


def test_ratios_are_taken_within_a_round():
    """The second round was slow for both; medians of the times would give 4 / 2."""
    times = pd.DataFrame({"ours": [1.0, 8.0, 4.0], "reference": [2.0, 16.0, 2.0]})
    row = compare(times, "reference").set_index("case").loc["ours"]
    assert (row["ms"], row["ratio"], row["rounds"]) == (4000.0, 0.5, 3)


def test_steps_take_turns():
    order = []
    times = take_turns({name: lambda name=name: order.append(name) for name in "abc"}, "cpu", rounds=3)
    assert "".join(order) == "aabbcc" + "abc" + "cba" + "abc"
    assert list(times) == ["a", "b", "c"] and len(times) == 3


def test_peak_of_allocations():
    """Twelve megabytes at once, of twenty in all; what was there before does not count."""
    before = torch.ones(1_000_000)

    def step() -> None:
        first = torch.ones(2_000_000)
        second = first[:1_000_000] + before
        del first
        torch.ones(2_000_000).add_(second.sum())

    assert step_peak(step, "cpu") == pytest.approx(12e6, rel=1e-3)


@pytest.mark.parametrize("shape", [(1024, 64), (4, 256, 64)])
@pytest.mark.parametrize("structure", STRUCTURED)
def test_a_step_by_the_own_route_takes_no_more_memory_than_loras(structure, shape, monkeypatch):
    """In many chunks; a gradient that autograd has to copy before it is added would take a third more."""
    monkeypatch.setitem(CHUNK, "cpu", 2**11)
    x, g = torch.randn(*shape, requires_grad=True), torch.randn(*shape)
    cases = layer.cases(shape[-1])
    names = layer.REFERENCE, layer.case_name(structure, STRUCTURES[structure].own_route)
    lora, own = (step_peak(layer.step_of(cases[name](), x, g, Setting("cpu", "fp32")), "cpu") for name in names)
    assert own <= 1.05 * lora


@pytest.mark.parametrize("structure", STRUCTURED)
def test_routes_of_a_case_agree(structure):
    x = torch.randn(5, 24)
    answers = []
    for route in routes(STRUCTURES[structure]):
        torch.manual_seed(0)
        module = layer.structured(structure, route, 24)
        answers.append(module(x))
        assert not torch.allclose(answers[-1], module.base_model.model[0].base_layer(x), rtol=0, atol=1e-6)
    for answer in answers[1:]:
        torch.testing.assert_close(answer, answers[0], rtol=1e-4, atol=1e-5)


def test_plain_rfft_is_our_circulant():
    plain = layer.PlainFFT(24)
    torch.nn.init.normal_(plain.c)
    x = torch.randn(5, 24)
    circulant = plain.c[(torch.arange(24)[:, None] - torch.arange(24)) % 24]
    torch.testing.assert_close(plain(x), plain.base(x) + x @ circulant.T, rtol=1e-4, atol=1e-5)


def test_whole_steps_learn():
    """A step of the benchmark is a training step: the loss of its batch falls."""
    config = networks.config_of("minilm", "circulant")
    torch.manual_seed(0)
    module = networks.random_backbone(config)
    inputs, _ = networks.random_batch(config, 2, "cpu")
    assert module(**inputs).logits.isfinite().all()
    step, tensors = networks.training_step(module, config, Setting(), size=2)
    torch.manual_seed(1)  # of the batch
    inputs, labels = networks.random_batch(config, 2, "cpu")

    def loss():
        with torch.no_grad():
            log_probabilities = module.eval()(**inputs).logits.log_softmax(-1)
        module.train()
        return -log_probabilities[torch.arange(2), labels].mean().item()

    before, kept = loss(), len(tensors())
    for _ in range(3):
        step()
    assert loss() < before
    assert len(tensors()) > kept  # AdamW's state


def test_what_differs_is_not_compared():
    same = [{"train_loss": 1.0, "accuracy": 0.5}]
    harness._check_same(same, [{"train_loss": 1.0005, "accuracy": 0.51}])
    for other in ({"train_loss": 1.01, "accuracy": 0.5}, {"train_loss": 1.0, "accuracy": 0.55}):
        with pytest.raises(RuntimeError, match="the two runs differ"):
            harness._check_same(same, [other])
    with pytest.raises(ValueError, match="zip"):
        harness._check_same(same, 2 * same)


def test_verdicts():
    cases = {"frozen layer": 0.5, layer.REFERENCE: 1.0, layer.C3A: 3.0, layer.RFFT: 1.5}
    cases |= {layer.case_name(structure, "auto"): 0.9 for structure in STRUCTURED}
    cases[layer.case_name("ldr", "auto")] = 1.004  # 1.00 by two digits
    cases[layer.case_name("kronecker", "auto")] = 1.2
    data = pd.DataFrame(
        {"case": list(cases), "ratio": list(cases.values()), "bytes": 10, "setting": "cpu", "machine": "m"}
    )
    runs = pd.DataFrame(
        {"model": ["short", "long", "long"], "case": [harness.HARNESS, harness.HARNESS, "with cache_prefix ÷ without"],
         "ratio": [1.04, 1.034, 2.0], "setting": "cpu", "machine": "m"}
    )  # fmt: skip
    table = target_table({"layer": data, "harness": runs})
    assert "is judged: cpu. Machine: m." in table.caption
    verdicts = {row[0].text: row[3].text for row in table.rows}
    assert verdicts == {
        "layer ÷ LoRA r=8": "missed: kronecker",
        "layer ÷ C3A": "missed: kronecker",
        "layer ÷ plain rfft": "met",
        "layer's memory ÷ LoRA r=8": "met",
        "whole run ÷ bare loop": "missed: short",
    }


@pytest.mark.slow
def test_every_part_is_measured_and_written(tmp_path):
    frames = {}
    for name, part in PARTS.items():
        frames[name] = measure_part(name, TINY).assign(machine="here")
        write(part.table(frames[name], TINY, "here"), tmp_path / name)
        if part.figure:
            part.figure(frames[name], tmp_path / name)
        assert "here" in (tmp_path / f"{name}.md").read_text()
        assert len(pd.read_csv(tmp_path / f"{name}.csv")) == len(frames[name])
    assert len(target_table(frames).rows) >= 7
    assert (frames["numerics"][["forward", "gradient_x", "gradient"]] < 1e-5).all(axis=None)
    assert (tmp_path / "width.png").stat().st_size > 10_000
