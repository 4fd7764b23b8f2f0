"""Adapters on layers that are not a plain Linear: an own forward pass, hooks, and merging into such layers."""

import pytest
import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from peft import get_peft_model
from support.base_layers import FIRST, OTHERS, TOKENS, doubling, linear, mergeable, on_linear, others, tuned, x
from support.methods import DELTAS, LITERATURE
from support.roberta import D, stir
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrize

from surm_bench.adapters import (
    SurmConfig,
)
from surm_bench.adapters.base_layer import is_plain_linear
from surm_bench.errors import UserError

# The base layer's own forward pass


@others
@pytest.mark.parametrize("structure", ["circulant", "toeplitz_product", "low_rank"])
def test_one_product_does_not_pass_over_what_the_base_layer_does(base, structure):
    """Oracle: the layer's own answer, and the dense delta behind it."""
    own = OTHERS[base]().eval()
    expected = own(x(TOKENS)).detach()
    model = stir(get_peft_model(nn.Sequential(own), SurmConfig(route="dense", **DELTAS[structure], **FIRST)))
    delta = model.base_model.model[0].surm_delta["default"].dense().detach()
    torch.testing.assert_close(model(x(TOKENS)), expected + x(TOKENS) @ delta.T, atol=1e-4, rtol=1e-4)
    assert not is_plain_linear(own) and delta.norm() > 0.1


def test_a_plain_layer_is_left_out_of_one_product():
    layer = tuned("surm", linear()).base_model.model[0]
    assert is_plain_linear(layer.base_layer) and layer._one_product(["default"], x(TOKENS))


@pytest.mark.parametrize("register", ["register_full_backward_hook", "register_full_backward_pre_hook"])
def test_backward_hooks_of_the_base_layer_are_called(register):
    called, layer = [], linear()
    getattr(layer, register)(lambda *_: called.append(True))
    tuned("surm", layer)(x(TOKENS).requires_grad_()).sum().backward()
    assert called


def test_hooks_on_all_modules_are_called():
    model, called = tuned("surm", linear()), []
    handle = register_module_forward_hook(lambda module, *_: called.append(type(module)))
    model(x(TOKENS))
    handle.remove()
    assert nn.Linear in called


@on_linear
def test_arguments_of_the_base_layer_reach_it(name):
    layer = tuned(name, doubling()).base_model.model[0]
    if name != "repadapter":  # it answers x, before the layer
        with torch.no_grad():
            for parameter in layer.adapters.parameters():
                parameter.zero_()
        layer.adapters.to(torch.float32)
        torch.testing.assert_close(layer(x(), scale=5), layer.base_layer(x(), scale=5), atol=0.2, rtol=0.2)
    assert not torch.allclose(layer(x(), 5), layer(x()))


# Merging


@others
@mergeable
def test_merging_is_refused_where_the_layer_would_not_answer_with_the_weight(name, base):
    if (name, base) == ("lora_xs", "codes"):
        with pytest.raises(UserError, match="the weight of a .*Codes is torch.int8 .* cannot dequantise"):
            tuned(name, OTHERS[base]())
        return
    model = tuned(name, OTHERS[base]())
    before = model(x())
    with pytest.raises(UserError, match="adapters cannot be merged into 0, a .*: (its weight|it computes)") as error:
        model.merge_and_unload()
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="cannot be merged into this layer"):
        model.base_model.model[0].merge()
    assert torch.equal(model(x()), before)


@mergeable
def test_a_subclass_that_computes_a_linear_in_its_own_words_is_merged(name):
    class InItsOwnWords(nn.Linear):
        def forward(self, x):
            return x @ self.weight.T + self.bias

    model = tuned(name, InItsOwnWords(D, D))
    watched = []
    model.base_model.model[0].base_layer.register_forward_hook(lambda *_: watched.append(1) and None)
    before = model(x())
    model.merge_adapter()
    torch.testing.assert_close(model(x()), before, atol=1e-5, rtol=1e-4)


def test_a_layer_whose_weights_accelerate_moves_is_merged():
    model = tuned("surm", add_hook_to_module(linear(), AlignDevicesHook("cpu")))
    before = model(x())
    model.merge_adapter()
    torch.testing.assert_close(model(x()), before, atol=1e-5, rtol=1e-4)


@mergeable
def test_merging_under_autocast_is_merging_without(name):
    one, two = (tuned(name, linear()) for _ in range(2))
    one.merge_adapter()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        two.merge_adapter()
    assert torch.equal(one.base_model.model[0].base_layer.weight, two.base_model.model[0].base_layer.weight)
    assert torch.equal(one.base_model.model[0].base_layer.bias, two.base_model.model[0].base_layer.bias)


def test_tied_weights_are_not_merged():
    """Between two layers with adapters, and between one with an adapter and an embedding without."""

    class Tied(nn.Module):
        def __init__(self, other: nn.Module):
            super().__init__()
            self.other, self.own, self.first = other, linear(), linear()
            self.other.weight = self.own.weight

    for other, targets in ((linear(), ["first", "own", "other"]), (nn.Embedding(D, D), ["first", "own"])):
        model = stir(get_peft_model(Tied(other), SurmConfig(target_modules=targets)))
        weights = {name: p.clone() for name, p in model.named_parameters()}
        for merge in (model.merge_adapter, model.merge_and_unload):
            with pytest.raises(
                UserError, match="merged into o.*: its weight is also (own|other).weight, which would chang"
            ):
                merge()
        assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())


@pytest.mark.parametrize("name", ["ssf", "hadamard", "repadapter"])
def test_a_bias_that_is_trained_beside_stays_the_same_parameter(name):
    layer = linear()
    model, bias = tuned(name, layer), layer.bias
    bias.requires_grad_()
    before = bias.detach().clone()
    for _ in range(2):
        model.merge_adapter()
        assert layer.bias is bias and bias.requires_grad and not torch.equal(bias, before)
        model.unmerge_adapter()
        assert layer.bias is bias and bias.requires_grad and torch.equal(bias, before)


# Adapters that were changed


@pytest.mark.parametrize("structure", ["circulant", "low_rank", "toeplitz_product"])
def test_a_parametrised_parameter_of_a_structure_counts_as_it_is(structure):
    class Half(nn.Module):
        def forward(self, value):
            return value / 2

    torch.manual_seed(1)
    model = stir(get_peft_model(nn.Sequential(linear()), SurmConfig(**DELTAS[structure], **FIRST)))
    layer = model.base_model.model[0]
    dense = layer.get_delta_weight("default").detach()
    delta = layer.surm_delta["default"]
    parametrize.register_parametrization(delta, delta._names[0], Half())
    torch.testing.assert_close(model(x()), layer.base_layer(x()) + x() @ dense.T / 2, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(set(LITERATURE) - {"hadamard", "ssf", "repadapter"}))
def test_an_adapter_in_half_precision_does_not_round_the_weight_that_it_is_merged_into(name):
    layer = tuned(name, linear()).base_model.model[0]
    layer.adapters.to(torch.bfloat16)
    weight, delta = layer.base_layer.weight.detach().clone(), layer.get_delta_weight("default").detach()
    layer.merge()
    torch.testing.assert_close(layer.base_layer.weight, weight + delta.float(), atol=1e-6, rtol=1e-5)
