"""AdaLoRA's schedule of ranks and its penalty, and the hooks of the training loop that run them."""

import pytest
import torch
from peft import AdaLoraConfig, PeftModel, get_peft_model
from support.roberta import backbone, logits, roles, stir, tokens, train
from torch import nn

from surm_bench.adapters import MeloraConfig
from surm_bench.adapters.build import attach
from surm_bench.adapters.training_hooks import training_hooks
from surm_bench.config import AdapterConfig
from surm_bench.errors import UserError
from surm_bench.training import Hooks

LAYERS = 3


def adalora(**fields) -> PeftModel:
    planned = {"total_step": 100, "tinit": 10, "tfinal": 50, "deltaT": 1, "init_r": 4, "target_r": 2}
    config = {"_target_": "peft.AdaLoraConfig", **planned, "orth_reg_weight": 0.3} | fields
    return attach(
        backbone(layers=LAYERS), roles(LAYERS), AdapterConfig("adalora", "AdaLoRA", 1e-2, roles=["q", "v"], peft=config)
    )


def ranks(model: PeftModel) -> list[int]:
    """How many singular values are left in each layer."""
    tuned = [m for m in model.modules() if isinstance(m, model.base_model.tuner_layer_cls)]
    return [int((layer.lora_E["default"] != 0).sum()) for layer in tuned]


@pytest.mark.parametrize("steps", [2, 3, 6, 40])
def test_adalora_shrinks_from_the_initial_to_the_target_budget(steps):
    """2·3 layers of rank 4: 24 ranks at the start, none cut in the first tenth, 12 left in the second half."""
    model = adalora()
    hooks, left = training_hooks(model), []
    allocate = hooks.after_step
    hooks.after_step = lambda step: (allocate(step), left.append(sum(ranks(model))))
    train(model, steps, hooks)
    config = model.peft_config["default"]
    assert config.total_step == steps
    assert left[-1] == 2 * 6 and left == sorted(left, reverse=True)
    assert left[: config.tinit] == [4 * 6] * config.tinit
    assert left[steps - config.tfinal - 1 :] == [2 * 6] * (config.tfinal + 1)
    if steps == 40:
        assert (config.tinit, config.tfinal) == (4, 20)
        budgets = [int((24 - 12) * (1 - (step - 4) / (40 - 20 - 4)) ** 3 + 12) for step in range(5, 20)]
        assert left[4:19] == budgets  # the cubic schedule of Zhang et al., 2023, eq. 12
    assert sum(sum(kept) for kept in config.rank_pattern.values()) == 2 * 6


@pytest.mark.parametrize("skipped", [3, 4, 20])
def test_adalora_makes_its_final_cut_though_fp16_skips_steps(skipped):
    """From the step of the final cut on, as many steps as are skipped; PEFT itself would never cut then."""
    model = adalora()
    hooks = training_hooks(model)
    after_step, steps = hooks.after_step, 40
    hooks.after_step = lambda step: None if 20 <= step < 20 + min(skipped, 20) else after_step(step)
    train(model, steps, hooks)
    assert sum(ranks(model)) == 2 * 6


def test_adalora_after_its_cuts_is_saved_and_loaded_whole(tmp_path):
    model = adalora()
    train(model, 6, training_hooks(model))
    model.eval().save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(backbone(layers=LAYERS), tmp_path).eval()
    torch.testing.assert_close(logits(loaded), logits(model), atol=1e-6, rtol=0)


def test_adalora_penalty_is_pefts_own():
    """Oracle: what PEFT adds to a loss that the model computes, where its tuner is called and not the wrapper."""
    model = stir(adalora())
    labels = torch.tensor([0, 1, 2, 0])
    output = model.base_model(tokens(), labels=labels)
    added = output.loss - nn.functional.cross_entropy(output.logits, labels)
    assert added > 0.1
    torch.testing.assert_close(training_hooks(model).penalty(), added)


def test_adalora_refuses_what_cannot_shrink():
    with pytest.raises(UserError, match="target_r=4 is not possible: from 1 to below init_r=4"):
        training_hooks(adalora(target_r=4))
    model = adalora()
    with pytest.raises(UserError, match="train at least two"):
        training_hooks(model).begin(1)


def test_no_other_method_has_a_schedule():
    assert training_hooks(get_peft_model(backbone(), MeloraConfig())) is None


def test_adalora_config_of_peft_is_what_the_schedule_reads():
    """The stretched numbers are PEFT's own fields, so that a saved adapter has its schedule."""
    model = adalora()
    training_hooks(model).begin(1000)
    saved = model.peft_config["default"]
    assert isinstance(saved, AdaLoraConfig)
    assert (saved.total_step, saved.tinit, saved.tfinal) == (1000, 100, 500)


def test_the_penalty_acts_on_the_gradients_and_not_on_the_reported_loss():
    class Pull(Hooks):
        def __init__(self, parameter):
            self.parameter = parameter

        def penalty(self):
            return 100 * self.parameter.square().sum()

    losses, norms = [], []
    for pulled in (False, True):
        model = backbone()
        weight = model.classifier.dense.weight
        epochs = train(model, 5, Pull(weight) if pulled else None)
        losses.append(epochs[0]["train_loss"])
        norms.append(weight.norm().item())
    assert losses[0] == losses[1]
    assert norms[1] < norms[0]


def test_hooks_are_told_the_steps_while_gradients_are_there():
    class Watch(Hooks):
        def __init__(self, model):
            self.model, self.printed = model, []

        def begin(self, steps):
            self.printed.append(("steps", steps))

        def after_step(self, step):
            assert self.model.classifier.dense.weight.grad.abs().sum() > 0
            self.printed.append(step)

    model = backbone()
    watch = Watch(model)
    train(model, 3, watch)
    assert watch.printed == [("steps", 3), 1, 2, 3]
