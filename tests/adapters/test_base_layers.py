"""What an adapter is put around, where that is no plain Linear: the base layer's own forward pass, hooks, quantised,
parametrised and tied weights, other devices, norms of other kinds, and injections that fail."""

import copy
import importlib

import pytest
import torch
from accelerate.hooks import AlignDevicesHook, ModelHook, add_hook_to_module
from peft import LoraConfig, PeftModel, get_peft_model, inject_adapter_in_model
from peft.utils.integrations import dequantize_module_weight
from support.methods import BESIDE, DELTAS, LITERATURE, RESIDUALS, method
from support.roberta import D, backbone, logits, stir, tokens
from timm.models import beit
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrizations, parametrize, prune

from surm_bench.adapters import (
    FactConfig,
    HadamardConfig,
    LoraPevitConfig,
    LortaConfig,
    SsfConfig,
    SurmConfig,
    affine,
    delta,
)
from surm_bench.adapters.base_layer import is_plain_linear
from surm_bench.adapters.tuner_layer import tuner_layers
from surm_bench.errors import UserError

TOKENS = 600  # enough for the cost rule to prefer one product
FIRST = {"target_modules": ["0"]}
HEADS = {"lorta": {"heads": 4}, "lora_pevit": {"heads": 4}}
ON_LINEAR = [*DELTAS, *RESIDUALS, *LITERATURE, *sorted(BESIDE.keys() - {"adaptformer"})]
MERGEABLE = ["circulant", *LITERATURE]  # all structures are one layer
SHARING = ("lorta", "kadaptation", "aurora", "fact", "repadapter", "compacter")

on_linear = pytest.mark.parametrize("name", ON_LINEAR)
mergeable = pytest.mark.parametrize("name", MERGEABLE)


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(D, D)


def x(count: int = 7) -> torch.Tensor:
    return torch.randn(2, count, D, generator=torch.Generator().manual_seed(3))


def config_of(name: str):
    """On the layer "0", whatever the method takes without a target."""
    if name == "surm":
        return SurmConfig(structure="toeplitz", route="dense", **FIRST)
    if name in DELTAS or name in RESIDUALS:
        return method(name, **FIRST)
    made, own = (LITERATURE | BESIDE)[name]
    return made(**own | FIRST | HEADS.get(name, {}))


def tuned(name: str, layer: nn.Module) -> PeftModel:
    torch.manual_seed(1)
    return stir(get_peft_model(nn.Sequential(layer), config_of(name))).eval()


# The base layer's own forward pass


class Doubling(nn.Linear):
    def forward(self, x, scale=2):
        return scale * super().forward(x)


class Codes(nn.Linear):
    """int8 codes and a scale a row, as quantisers have them."""

    def __init__(self, of: nn.Linear):
        super().__init__(of.in_features, of.out_features)
        self.scale = of.weight.detach().abs().amax(1, keepdim=True) / 127
        codes = (of.weight.detach() / self.scale).round().to(torch.int8)
        self.weight, self.bias = nn.Parameter(codes, requires_grad=False), of.bias

    def forward(self, x):
        return nn.functional.linear(x, self.weight * self.scale, self.bias)


def doubling() -> nn.Linear:
    made = Doubling(D, D)
    made.load_state_dict(linear().state_dict())
    return made


def replaced() -> nn.Linear:
    made = linear()
    made.forward = lambda x: 3 * nn.functional.linear(x, made.weight, made.bias)
    return made


def hooked() -> nn.Linear:
    made = linear()
    made.register_forward_hook(lambda module, inputs, y: -y)
    return made


def pre_hooked() -> nn.Linear:
    made = linear()
    made.register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],))
    return made


def hooked_by_accelerate() -> nn.Linear:
    class Halving(ModelHook):
        def post_forward(self, module, y):
            return y / 2

    return add_hook_to_module(linear(), Halving())


OTHERS = {
    "accelerate's hook": hooked_by_accelerate,
    "own forward": doubling,
    "instance's forward": replaced,
    "hook": hooked,
    "pre-hook": pre_hooked,
    "codes": lambda: Codes(linear()),
    "weight_norm": lambda: parametrizations.weight_norm(linear()),
    "spectral_norm": lambda: parametrizations.spectral_norm(linear()).eval(),
    "old weight_norm": lambda: nn.utils.weight_norm(linear()),
    "pruned": lambda: prune.l1_unstructured(linear(), "weight", 0.5),
}
others = pytest.mark.parametrize("base", OTHERS)


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
    for module in (delta, affine):  # a fake tensor is no plain one
        monkeypatch.setattr(module, "check_mergeable", lambda *_: None)
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


# Norms


@pytest.mark.parametrize("config", [SsfConfig, HadamardConfig])
@pytest.mark.parametrize("options", [{"elementwise_affine": False}, {"bias": False}])
def test_norms_without_weight_or_bias(config, options):
    norm = nn.LayerNorm(D, **options)
    own = {name: None if p is None else p.clone() for name, p in (("weight", norm.weight), ("bias", norm.bias))}
    model = stir(get_peft_model(nn.Sequential(norm), config(**FIRST))).eval()
    adapter = next(iter(tuner_layers(model).values())).adapters["default"]
    expected = norm(x()) * (1 + adapter.scale) + adapter.bias
    torch.testing.assert_close(model(x()), expected)
    model.merge_adapter()
    torch.testing.assert_close(norm(x()), expected)
    model.unmerge_adapter()
    for name, value in own.items():
        assert value is None if getattr(norm, name) is None else torch.equal(getattr(norm, name), value)


class OfMaps(nn.LayerNorm):
    """A norm over the channels of (batch, channels, height, width)."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("config", [SsfConfig, HadamardConfig])
@pytest.mark.parametrize("norm", [nn.LayerNorm((3, D)), nn.LayerNorm((3, D), elementwise_affine=False), OfMaps(D)])
def test_norms_over_other_dimensions_are_refused(config, norm):
    with pytest.raises(UserError, match="target module '0' is a .* over .*the last dimension alone"):
        get_peft_model(nn.Sequential(norm), config(**FIRST))


# Attention


FUSED = {"qkv": (D, 3 * D), "in_proj": (D, 2 * D), "query_key_value": (D, D + 16), "projection": (D, 3 * D)}


@pytest.mark.parametrize("config", [LortaConfig, LoraPevitConfig])
@pytest.mark.parametrize("name", FUSED)
def test_fused_attention_is_refused_where_heads_count(config, name):
    model = nn.ModuleDict({name: nn.Linear(*FUSED[name])})
    with pytest.raises(UserError, match=f"{name}, of .*, is q, k and v fused in one layer"):
        get_peft_model(model, config(heads=4, target_modules=[name]))


def test_lora_pevit_takes_batches_of_tokens_alone():
    model = tuned("lora_pevit", linear())
    for shape in ((5, D), (2, 3, 4, D), (D,)):
        with pytest.raises(UserError, match=r"takes \(batch, tokens, width\), not \("):
            model(torch.randn(shape))


def test_an_adapter_that_attention_would_never_call_is_refused():
    model = nn.ModuleDict({"attention": nn.MultiheadAttention(D, 4)})
    with pytest.raises(UserError, match="'attention.out_proj' is never called"):
        get_peft_model(model, SurmConfig(target_modules=["out_proj"]))


def test_torchs_encoder_layer_does_not_read_weights_past_their_adapters():
    """In evaluation it computes all of itself from the weights of its modules, unless one has a hook."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(D, 4, D, dropout=0.0, batch_first=True)
    model = stir(get_peft_model(nn.Sequential(layer), SurmConfig(target_modules=["linear1", "linear2"])))
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x()), model.train()(x()), atol=1e-5, rtol=1e-4)


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
