"""Gradient accumulation and checkpointing: the gradients are those of the plain step, which is the oracle."""

import pytest
import torch
from support.classifier import trained_in_parts
from support.runs import ADAPTERS, DIGITS, GRAMMAR, SMALLER, check_config, start
from torch import nn

from surm_bench.adapters.build import attach
from surm_bench.config import TrainerConfig
from surm_bench.config.composition import resolved
from surm_bench.errors import UserError
from surm_bench.models.checkpointing import checkpoint_layers
from surm_bench.run.build import build
from surm_bench.run.prefix_cache import cache_prefix
from surm_bench.tasks import objective_for
from surm_bench.training import forward


@pytest.mark.parametrize("size", [5, 8, 1])
def test_parts_of_a_batch_give_the_gradients_of_the_batch(size):
    """Parts of 5, 5, 5 and 1 row, and of 2 at the end of an epoch: a mean of their means would be another loss."""
    (losses, parameters), (wanted, whole) = trained_in_parts(size), trained_in_parts(None)
    assert losses == pytest.approx(wanted, rel=1e-5)
    for found, expected in zip(parameters, whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "overrides",
    [
        [*DIGITS, "adapter=adalora"],
        [*DIGITS, "adapter=circulant", "task.augment=flip_and_shift"],
        [*DIGITS, "adapter=circulant", "adapter.first_layer=2", "trainer.cache_prefix=true"],
        [*GRAMMAR, "adapter=linear_probe"],
    ],
    ids=lambda overrides: " ".join(overrides[2:]),
)
def test_a_run_in_parts_is_the_run_but_for_rounding(overrides, tmp_path):
    """Neither of the small models drops out; the text one only in front of its head, which must not."""
    dry = ["model.name=roberta_tiny"] if overrides[0] == GRAMMAR[0] else []
    whole = start(tmp_path, *overrides, *dry)
    parts = start(tmp_path, *overrides, *dry, "trainer.micro_batch_size=7")
    assert parts.run_id != whole.run_id and parts.identity["trainer.micro_batch_size"] == 7
    losses = [[one["train_loss"] for one in record.history] for record in (parts, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


# Checkpointing


def gradients(model: nn.Module, batch: dict, loss) -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    model.zero_grad()
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    loss(forward(model.train(), inputs), batch["labels"]).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def adapted(overrides: list[str]):
    settings = resolved([*overrides, "task.max_train_samples=8", "task.max_eval_samples=8"])
    backbone, data = build(settings)
    batch = data.collate([data.train[i] for i in range(8)])
    return attach(backbone.module, backbone.roles, settings.adapter), data, batch, objective_for(settings.task).loss


@pytest.mark.parametrize("adapter", [name for name in ADAPTERS if name != "prefix"])
def test_checkpointed_gradients_are_the_plain_ones(adapter):
    """With dropout, which must drop the same again."""
    backbone = GRAMMAR if ADAPTERS.index(adapter) % 2 else DIGITS
    model, _, batch, loss = adapted([*backbone, f"adapter={adapter}", *SMALLER.get(adapter, [])])
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.2
    plain = gradients(model, batch, loss)
    checkpoint_layers(model)
    found = gradients(model, batch, loss)
    assert found.keys() == plain.keys() and plain
    for name, gradient in plain.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-7, msg=name)


@pytest.mark.parametrize("backbone", [DIGITS, GRAMMAR], ids=["digits", "grammar"])
@pytest.mark.parametrize("cached", [False, True])
def test_a_layer_is_computed_again(backbone, cached):
    """Also behind a cached prefix, where the layers before are not computed at all."""
    model, data, batch, loss = adapted([*backbone, "adapter=circulant", "adapter.first_layer=2"])
    calls = []
    layers = [m for n, m in model.named_modules() if n.endswith((".mlp.fc1", ".intermediate.dense"))]
    assert len(layers) == 4
    if cached:
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        trainer = TrainerConfig(progress=False)
        model, data = cache_prefix(model, data, trainer)
        batch = data.collate([data.train[i] for i in range(8)])
    for index, layer in enumerate(layers):
        layer.register_forward_pre_hook(lambda *_, index=index: calls.append(index))
    plain = gradients(model, batch, loss)
    assert sorted(calls) == ([2, 3] if cached else [0, 1, 2, 3])
    calls.clear()
    checkpoint_layers(model.model if cached else model)
    found = gradients(model, batch, loss)
    again = {2: 2, 3: 2} if cached else {0: 1, 1: 1, 2: 2, 3: 2}
    assert {index: calls.count(index) for index in calls} == again
    assert all(torch.equal(found[name], gradient) for name, gradient in plain.items())


def test_a_prefix_of_keys_and_values_is_refused():
    with pytest.raises(UserError, match="gradient_checkpointing=true is not possible with prefix tuning") as error:
        checkpoint_layers(adapted([*GRAMMAR, "adapter=prefix"])[0])
    assert "\n" not in str(error.value)


def test_a_checkpointed_run_is_the_run(tmp_path):
    plain = start(tmp_path / "plain", *GRAMMAR, "adapter=lora", "adapter.peft.lora_dropout=0.2")
    found = start(
        tmp_path / "again", *GRAMMAR, "adapter=lora", "adapter.peft.lora_dropout=0.2",
        "trainer.gradient_checkpointing=true",
    )  # fmt: skip
    assert found.run_id == plain.run_id and found.config.trainer.gradient_checkpointing is True
    assert found.history == plain.history and found.files == plain.files


@pytest.mark.parametrize(
    ("optimizer", "trainer", "message"),
    [
        ({}, {"micro_batch_size": 0}, "trainer.micro_batch_size=0 is not possible: at least 1, or null"),
        ({}, {"micro_batch_size": 32}, "trainer.micro_batch_size=32 is .* below trainer.batch_size=32, or null"),
        ({"name": "loko"}, {"micro_batch_size": 8}, "trainer.micro_batch_size=8 is not possible with optimizer.name="),
        ({"name": "loko"}, {"gradient_checkpointing": True}, "gradient_checkpointing=true is not possible with opt"),
    ],
)
def test_what_makes_no_sense_is_refused(optimizer, trainer, message):
    with pytest.raises(UserError, match=message) as error:
        check_config(optimizer, trainer=trainer)
    assert "\n" not in str(error.value)
