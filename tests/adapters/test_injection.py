"""Several adapters on one model, and injections that fail and leave the model as it was."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model, inject_adapter_in_model
from support.base_layers import FIRST, SHARING, linear, x
from support.methods import method
from support.roberta import D, backbone, logits, stir, tokens
from timm.models import beit
from torch import nn

from surm_bench.adapters import (
    FactConfig,
    LortaConfig,
    SsfConfig,
    SurmConfig,
)
from surm_bench.adapters.tuner_layer import tuner_layers
from surm_bench.errors import UserError

# One model, several adapters


@pytest.mark.parametrize("name", ["circulant", "houlsby", "lora_xs", "ssf", *SHARING])
def test_a_name_that_is_taken_is_refused_and_nothing_changes(name):
    model = stir(get_peft_model(backbone(), method(name)))
    before, state = logits(model), dict(model.named_parameters())
    for again in (
        lambda: model.base_model.inject_adapter(model.base_model.model, "default"),
        lambda: inject_adapter_in_model(method(name), model.base_model.model),
    ):
        with pytest.raises(UserError, match="the model has an adapter 'default' already"):
            again()
    after = dict(model.named_parameters())
    assert after.keys() == state.keys() and all(after[key] is state[key] for key in state)
    assert torch.equal(logits(model), before)


def test_two_methods_may_have_adapters_of_one_name():
    model = backbone()
    inject_adapter_in_model(SurmConfig(target_modules=["key"]), model)
    inject_adapter_in_model(FactConfig(r=2, target_modules=["query", "value"]), model)
    assert len(tuner_layers(model)) == 6


@pytest.mark.parametrize("names", [["__base__"] * 4, ["default", "__base__", "default", "__base__"], ["default"] * 4])
def test_rows_of_a_batch_with_adapters_of_their_own_are_refused(names):
    model = stir(get_peft_model(backbone(), method("circulant")))
    with pytest.raises(UserError, match=r"adapter_names=\[.* is not possible with SurmModel"):
        model(tokens(), adapter_names=names)
    model(tokens(), adapter_names=None)


def test_add_weighted_adapter_says_what_to_do():
    with pytest.raises(UserError, match=r"add_weighted_adapter\(\) is not possible with SurmModel.*set_adapter"):
        get_peft_model(backbone(), method("circulant")).add_weighted_adapter(["default"], [1.0], "new")


# Injections that fail


def test_a_linear_of_another_package_is_named_in_full():
    model = nn.Sequential(linear())
    inject_adapter_in_model(LoraConfig(target_modules=["0"]), model)
    with pytest.raises(UserError, match=r"'0' is a peft.tuners.lora.layer.Linear, not a Linear\."):
        get_peft_model(model, SurmConfig(**FIRST))


FAILING = {
    "kronecker": lambda: SurmConfig(structure="kronecker", r=4, target_modules=["0", "1"]),
    "lora_xs": lambda: method("lora_xs", target_modules=["0", "1"]),
    "fact": lambda: FactConfig(r=2, target_modules=["0", "1"]),
    "no Linear": lambda: SurmConfig(target_modules=["0", "2"]),
    "lorta": lambda: LortaConfig(heads=2, target_modules=["0", "1"]),
}


@pytest.mark.parametrize("name", FAILING)
@pytest.mark.parametrize("second", [False, True])
def test_an_injection_that_fails_leaves_the_model_as_it_was(name, second):
    """Oracle: a copy of the model; the first layer fits the method and the other one does not."""
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2), nn.Tanh())
    model[1].weight.requires_grad_(False)
    wrapped = (
        get_peft_model(model, type(FAILING[name]())(**{**_working(name), "target_modules": ["0"]})) if second else None
    )
    before = [(n, type(m)) for n, m in model.named_modules()]
    trained = {n: (p, p.requires_grad) for n, p in model.named_parameters()}
    config = FAILING[name]()
    fields = copy.deepcopy(vars(config))
    with pytest.raises(UserError):
        wrapped.add_adapter("second", config) if second else get_peft_model(model, config)
    assert [(n, type(m)) for n, m in model.named_modules()] == before
    after = dict(model.named_parameters())
    assert after.keys() == trained.keys()
    assert all(after[n] is p and p.requires_grad == wanted for n, (p, wanted) in trained.items())
    assert {k: v for k, v in vars(config).items() if k in fields and k != "base_model_name_or_path"} == {
        k: v for k, v in fields.items() if k != "base_model_name_or_path"
    }


def _working(name: str) -> dict:
    own = {"kronecker": {"structure": "kronecker"}, "lora_xs": {"r": 2}, "fact": {"r": 2}, "lorta": {"heads": 2}}
    return own.get(name, {})


@pytest.mark.parametrize(
    "config", [SurmConfig(target_modules=["linear1"]), SsfConfig(target_modules=["linear2", "norm2"])]
)
def test_torchs_encoder_does_not_pack_padded_sequences_for_layers_with_adapters(config):
    """In evaluation it hands nested tensors to its layers, if their norms have the same eps."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(D, 4, D, dropout=0.0, batch_first=True)
    model = stir(get_peft_model(nn.ModuleDict({"encoder": nn.TransformerEncoder(layer, 2)}), config))
    encoder, padding = model.base_model.model["encoder"], torch.arange(7).expand(2, 7) >= torch.tensor([[7], [4]])
    with torch.no_grad():
        expected, answer = (encoder.train(mode)(x(), src_key_padding_mask=padding) for mode in (True, False))
    torch.testing.assert_close(answer[~padding], expected[~padding], atol=1e-5, rtol=1e-4)


def test_an_adapter_on_timms_qkv_of_which_only_the_weight_is_read_is_refused():
    for bias, called in ((True, False), (False, True)):
        attention = nn.ModuleDict({"attention": beit.Attention(D, 4, qkv_bias=bias)})
        if called:
            get_peft_model(attention, SurmConfig(target_modules=["qkv"]))
        else:
            with pytest.raises(UserError, match="'attention.qkv' is never called: Attention reads its weight only"):
                get_peft_model(attention, SurmConfig(target_modules=["qkv"]))
        get_peft_model(nn.ModuleDict({"attention": beit.Attention(D, 4)}), SurmConfig(target_modules=["proj"]))
