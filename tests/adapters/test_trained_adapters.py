"""Every adapter on a model of every family, attached and trained once: what changed, what is saved, and the ΔW."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from peft import PeftModel
from support.families import adapter_config, backbone, fits, in_every_run, logits, two_steps
from support.weight_changes import described, numpy
from torch import Tensor, nn

from surm_bench.adapters.build import attach
from surm_bench.adapters.change import original_weights, weight_changes
from surm_bench.adapters.roles import find_roles
from surm_bench.config.composition import choices

NO_WEIGHT_CHANGES = ("bitfit", "layernorm", "linear_probe")
ANSWERS_ACTIVATIONS = ("adapter_", "adaptformer", "compacter", "lora_pevit", "prefix")
FAMILIES = ("bert", "roberta", "vit", "clip")
PAIRS = [(adapter, family) for adapter in choices("adapter") for family in FAMILIES if fits(adapter, family)]


@dataclass
class Trained:
    """A model after two steps of training, and its tensors before them. Tests must leave the model as it is."""

    adapter: str
    family: str
    model: PeftModel
    roles: dict[str, list[str]]
    pretrained: dict[str, np.ndarray]  # weights of the Linear layers
    original: dict[str, Tensor]
    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]
    start: Tensor
    answer: Tensor


def case(adapter: str, family: str):
    marks = () if in_every_run(adapter, family) else pytest.mark.slow
    return pytest.param((adapter, family), id=f"{adapter}-{family}", marks=marks)


@pytest.fixture(scope="module", params=[case(*pair) for pair in PAIRS])
def trained(request) -> Trained:
    adapter, family = request.param
    module = backbone(family)
    pretrained = {name: numpy(m.weight).copy() for name, m in module.named_modules() if isinstance(m, nn.Linear)}
    roles = find_roles(name for name, _ in module.named_modules())
    model = attach(module, roles, adapter_config(adapter))
    original = original_weights(model)
    parameters = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    start = logits(model, family)
    two_steps(model, family)
    return Trained(
        adapter, family, model, roles, pretrained, original, parameters, buffers, start, logits(model, family)
    )


def test_training_changes_the_adapter_and_the_head_alone(trained):
    model = trained.model
    learns = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    before = trained.parameters
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    unsaved = dict(model.named_buffers())  # the state of a run does not include buffers
    assert all(torch.equal(buffer, trained.buffers[name]) for name, buffer in unsaved.items())
    in_head = {name for name in learns if "modules_to_save" in name}
    assert changed <= learns and changed >= in_head
    assert (changed > in_head) == (trained.adapter != "linear_probe")
    assert not torch.allclose(trained.answer, trained.start, atol=1e-3)


def test_a_loaded_adapter_answers_as_the_saved_one(trained, tmp_path):
    trained.model.save_pretrained(tmp_path, save_embedding_layers=False)
    loaded = PeftModel.from_pretrained(backbone(trained.family), tmp_path)
    torch.testing.assert_close(logits(loaded, trained.family), trained.answer, atol=1e-5, rtol=0)


def test_measuring_weight_changes_leaves_the_model_as_it_was(trained):
    """To the bit, in training mode too."""
    model, family = trained.model, trained.family
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    model.train()
    weight_changes(model, trained.original)
    assert model.training and gradients == {name: p.requires_grad for name, p in model.named_parameters()}
    after = model.state_dict()
    assert after.keys() == state.keys() and all(torch.equal(tensor, after[name]) for name, tensor in state.items())
    assert torch.equal(logits(model, family), trained.answer)


def test_weight_changes_are_those_of_pefts_merging(trained):
    """Oracle: the pretrained weights, and the weights of a copy of the model that PEFT has merged."""
    pretrained, roles = trained.pretrained, trained.roles
    rows = weight_changes(trained.model, trained.original)
    if trained.adapter in NO_WEIGHT_CHANGES or trained.adapter.startswith(ANSWERS_ACTIVATIONS):
        assert rows == [] and trained.original == {}
        return
    merged = copy.deepcopy(trained.model)
    merged.merge_adapter()
    rows = {row["layer"]: row for row in rows}
    in_head = {name for name in pretrained if name.startswith(tuple(roles["head"]))}
    for name in pretrained.keys() - in_head:
        layer = merged.get_base_model().get_submodule(name)
        change = numpy(getattr(layer, "base_layer", layer).weight) - pretrained[name]
        assert (name in rows) == (np.abs(change).max() > 1e-6), name
        if name in rows:
            row, wanted = rows[name], described(change, pretrained[name])
            assert row["role"] in roles and name in roles[row["role"]]
            assert row["norm"] == pytest.approx(wanted["norm"], rel=1e-2)  # PEFT's sum is rounded to fp32
            assert row["singular_values"] == pytest.approx(
                wanted["singular_values"], rel=1e-2, abs=1e-2 * wanted["norm"]
            )
            assert row["cosine_distance"] == pytest.approx(wanted["cosine_distance"], rel=3e-2, abs=1e-9)
            assert row["weight_norm"] == pytest.approx(wanted["weight_norm"])
