"""Training a subset of the backbone's own parameters: all, biases, norms, or none beside the head."""

import copy

import pytest
import torch
from peft import PeftModel, get_peft_model
from support.methods import HEAD
from support.roberta import backbone, close, logits, stir

from surm_bench.adapters import SubsetConfig
from surm_bench.errors import UserError

SUBSETS = {
    "all": (SubsetConfig(modules_to_save=HEAD), lambda n: not n.startswith("classifier")),
    "bias": (SubsetConfig(parameters="bias", modules_to_save=HEAD),
             lambda n: n.endswith(".bias") and not n.startswith("classifier")),
    "norms": (SubsetConfig(target_modules=["LayerNorm"], modules_to_save=HEAD), lambda n: "LayerNorm" in n),
    "none": (SubsetConfig(parameters="none", modules_to_save=HEAD), lambda n: False),
}  # fmt: skip


@pytest.mark.parametrize("name", SUBSETS)
def test_subset_trains_saves_and_loads_what_it_says(name, tmp_path):
    config, wanted = SUBSETS[name]
    expected = {n for n, _ in backbone().named_parameters() if wanted(n)}
    model = get_peft_model(backbone(), copy.deepcopy(config))
    trained = {n.removeprefix("base_model.model.") for n, p in model.named_parameters() if p.requires_grad}
    assert {n for n in trained if "modules_to_save" not in n} == expected
    stir(model).save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(backbone(), tmp_path, adapter_name="other").eval()
    assert close(logits(loaded), logits(model), 1e-6)
    assert close(logits(model.merge_and_unload()), logits(loaded), 1e-6)


def test_subset_refuses_what_it_cannot_do():
    model = get_peft_model(backbone(), SubsetConfig(modules_to_save=HEAD))
    with pytest.raises(UserError, match="cannot be disabled"), model.disable_adapter():
        pass
    with pytest.raises(UserError, match="second adapter"):
        model.add_adapter("second", SubsetConfig(modules_to_save=HEAD))
    with pytest.raises(UserError, match="'weights': choose from all, bias, none"):
        SubsetConfig(parameters="weights")
    with pytest.raises(UserError, match="LayerNrom"):
        get_peft_model(backbone(), SubsetConfig(target_modules=["LayerNrom"]))


def test_a_subset_is_not_unloaded_but_merged():
    model = stir(get_peft_model(backbone(), SubsetConfig(modules_to_save=HEAD)))
    trained = logits(model)
    with pytest.raises(UserError, match="cannot be unloaded"):
        model.unload()
    with pytest.raises(UserError, match="cannot be deleted"):
        model.delete_adapter("default")
    assert torch.equal(logits(model.merge_and_unload()), trained)
