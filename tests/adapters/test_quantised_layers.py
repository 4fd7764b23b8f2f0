"""Adapters on quantised layers, on several devices and on the meta device."""

import importlib

import pytest
import torch
from peft import get_peft_model
from peft.utils.integrations import dequantize_module_weight
from support.base_layers import MERGEABLE, SHARING, config_of, linear, on_linear, tuned, x
from support.methods import method
from support.roberta import D, backbone
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from surm_bench.adapters import merging
from surm_bench.adapters.tuner_layer import tuner_layers
from surm_bench.errors import UserError

# Quantisers


def bitsandbytes_linear(kind: str) -> nn.Module:
    bnb = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    options = {"has_fp16_weights": False} if kind == "Linear8bitLt" else {"quant_type": "nf4"}
    made = getattr(bnb.nn, kind)(D, D, **options)
    made.load_state_dict(linear().state_dict())
    return made.to("cpu")


def torchao_linear() -> nn.Module:
    quantization = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
    made = nn.Sequential(linear())
    quantization.quantize_(made, quantization.Int8WeightOnlyConfig())
    return made[0]


QUANTISED = {
    "int8": lambda: bitsandbytes_linear("Linear8bitLt"),
    "nf4": lambda: bitsandbytes_linear("Linear4bit"),
    "torchao": torchao_linear,
}


@pytest.mark.parametrize("quantiser", QUANTISED)
@pytest.mark.parametrize("name", ["surm", *MERGEABLE])
def test_adapters_on_quantised_layers(quantiser, name):
    """They answer as beside the dequantised layer; merging is refused."""
    quantised = QUANTISED[quantiser]()
    plain = linear()
    plain.weight.data = dequantize_module_weight(quantised).detach().float()
    ours, theirs = tuned(name, quantised), tuned(name, plain)
    if name == "lora_xs":  # signs of singular vectors are the machine's
        ours.base_model.model[0].lora_xs_delta.load_state_dict(theirs.base_model.model[0].lora_xs_delta.state_dict())
    torch.testing.assert_close(ours(x(800)), theirs(x(800)), atol=0.05, rtol=0.05)
    with pytest.raises(UserError, match="its weight is quantised"):
        ours.merge_adapter()


@pytest.mark.parametrize("quantiser", QUANTISED)
def test_lora_xs_starts_from_the_dequantised_weight(quantiser):
    quantised = QUANTISED[quantiser]()
    delta = tuned("lora_xs", quantised).base_model.model[0].lora_xs_delta["default"]
    wanted = torch.linalg.svdvals(dequantize_module_weight(quantised).detach().double())[:3]
    torch.testing.assert_close(delta.a.norm(dim=1).double(), wanted, atol=1e-4, rtol=1e-3)


# Devices


def put(module: nn.Module, mode: FakeTensorMode, device: str) -> None:
    """Replace its tensors by fake ones on a device that need not be there."""
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    with mode:
                        tensors[name] = nn.Parameter(torch.empty(tensor.shape, device=device))


@pytest.mark.parametrize("name", SHARING)
def test_layers_on_two_devices_share_their_parts(name, monkeypatch):
    """A fake tensor refuses a product with one of another device."""
    monkeypatch.setattr(merging, "check_mergeable", lambda *_: None)  # it refuses fake tensors as weights
    model, mode = get_peft_model(backbone(), method(name)), FakeTensorMode()
    for index, layer in enumerate(tuner_layers(model).values()):
        put(layer, mode, f"cuda:{(index + index // 2) % 2}")
    for layer in tuner_layers(model).values():
        base = layer.get_base_layer()
        with mode, torch.no_grad():
            inputs = torch.randn(2, 3, base.in_features, device=base.weight.device)
            answer = layer(inputs)
            assert answer.device == base.weight.device
            if name in MERGEABLE:
                layer.merge()
                assert layer.get_base_layer().weight.device == answer.device


@on_linear
@pytest.mark.parametrize("count", [3, 4000])
def test_shapes_on_the_meta_device(name, count):
    with torch.device("meta"):
        model = get_peft_model(nn.Sequential(nn.Linear(D, D)), config_of(name))
        answer = model(torch.empty(2, count, D))
    assert answer.shape == (2, count, D) and answer.is_meta


@on_linear
def test_replicas_of_data_parallel_answer_as_the_model(name, monkeypatch):
    """They have plain tensors where the model has parameters; here on the CPU, where torch makes none itself."""
    replicate = importlib.import_module("torch.nn.parallel.replicate")
    copies = {
        "_get_device_index": lambda *_: 0,
        "_broadcast_coalesced_reshape": lambda ts, *_, **__: [[t.clone() for t in ts]],
    }
    for function, copied in copies.items():
        monkeypatch.setattr(replicate, function, copied)
    model = tuned(name, linear()).base_model.model
    (replica,) = replicate.replicate(model, [0])
    answer = replica(x())
    torch.testing.assert_close(answer, model(x()))
    answer.sum().backward()
    assert all(p.grad is not None for p in model[0].adapters.parameters() if p.requires_grad)
