"""What PEFT promises of every method beyond what test_adapters.py asks; ``make test-peft`` runs PEFT's own tests."""

import copy
import json
import pickle
import subprocess
import sys
import warnings

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from support.methods import HEAD, every_method, method
from support.roberta import CONFIG, SIZES, backbone, close, logits, stir
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertModel,
    RobertaForMaskedLM,
    RobertaForQuestionAnswering,
    RobertaForTokenClassification,
    RobertaModel,
)

from surm_bench.adapters import HadamardConfig, SurmConfig
from surm_bench.adapters.build import attach
from surm_bench.adapters.register import register
from surm_bench.adapters.roles import find_roles
from surm_bench.adapters.tuner import LayerTuner
from surm_bench.adapters.tuner_layer import TunerLayer
from surm_bench.config import AdapterConfig
from surm_bench.errors import UserError

BERT = BertConfig(**SIZES)
BACKBONES = {
    **{cls.__name__: (cls, CONFIG) for cls in (RobertaModel, RobertaForMaskedLM, RobertaForQuestionAnswering)},
    **{cls.__name__: (cls, BERT) for cls in (BertModel, BertForMaskedLM, BertForMultipleChoice)},
    "RobertaForTokenClassification": (RobertaForTokenClassification, CONFIG),
}


def adapted_layers(model: nn.Module) -> list[str]:
    """The names, in the backbone, of the layers with adapters."""
    return [n.removeprefix("base_model.model.") for n, m in model.named_modules() if isinstance(m, TunerLayer)]


def adapter_dtypes(model: nn.Module, name: str = "default") -> set[torch.dtype]:
    """Of parameters and buffers of the adapter in all layers."""
    adapters = [layer.adapters[name] for layer in model.modules() if isinstance(layer, TunerLayer)]
    return {t.dtype for a in adapters for t in (*a.parameters(), *a.buffers())}


@every_method
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_without_autocast_an_adapter_has_the_precision_of_the_backbone(name, dtype):
    torch.manual_seed(5)
    model = stir(get_peft_model(backbone(dtype), method(name), autocast_adapter_dtype=False))
    model.add_adapter("second", method(name), autocast_adapter_dtype=False)
    assert adapter_dtypes(model) == adapter_dtypes(model, "second") == {dtype}
    answer = logits(model)
    assert answer.dtype == dtype
    wide = copy.deepcopy(model).float()  # the same numbers, computed in fp32
    assert close(answer.float(), logits(wide), 0.05)


@every_method
def test_a_loaded_adapter_has_the_precision_that_autocast_asks_for(name, tmp_path):
    dtype = torch.bfloat16
    model = stir(get_peft_model(backbone(dtype), method(name), autocast_adapter_dtype=False))
    answer = logits(model)
    model.save_pretrained(tmp_path)
    for low_cpu_mem_usage, autocast in ((False, False), (True, False), (False, True), (True, True)):
        options = {"autocast_adapter_dtype": autocast, "low_cpu_mem_usage": low_cpu_mem_usage}
        loaded = PeftModel.from_pretrained(backbone(dtype), tmp_path, **options).eval()
        assert adapter_dtypes(loaded) == {torch.float32 if autocast else dtype}
        assert close(logits(loaded).float(), answer.float(), 0.05)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_an_fft_of_half_precision_parameters_is_computed_in_fp32(dtype):
    """Oracle: the dense matrix, in fp64; what is left is the rounding of the answer."""
    torch.manual_seed(0)
    config = SurmConfig(structure="circulant", route="fft", target_modules=["0"])
    model = get_peft_model(nn.Sequential(nn.Linear(64, 64, bias=False)).to(dtype), config, autocast_adapter_dtype=False)
    layer = model.base_model.model[0]
    nn.init.zeros_(layer.base_layer.weight)
    delta = layer.surm_delta["default"]
    nn.init.normal_(delta.b)
    x = torch.randn(8, 64).to(dtype)
    exact = x.double() @ delta.dense().double().T
    torch.testing.assert_close(model(x).double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-4)


def test_excluded_modules_are_left_out():
    model = get_peft_model(backbone(), SurmConfig(target_modules=["query", "value"], exclude_modules=["value"]))
    assert [n.rpartition(".")[2] for n in adapted_layers(model)] == ["query", "query"]
    first = r".*\.layer\.0\..*"
    model = get_peft_model(backbone(), SurmConfig(exclude_modules=first))
    assert all(".layer.1." in name for name in adapted_layers(model)) and len(adapted_layers(model)) == 2


def test_a_name_of_which_one_place_is_left_is_not_ambiguous():
    config = SurmConfig(target_modules=["output.dense"], exclude_modules=["attention.output.dense"])
    names = adapted_layers(get_peft_model(backbone(), config))
    assert names == [f"roberta.encoder.layer.{i}.output.dense" for i in range(2)]


def test_excluding_does_not_hide_a_target_that_matches_nothing():
    with pytest.raises(UserError, match="'quary' matches no layer"):
        get_peft_model(backbone(), SurmConfig(target_modules=["quary", "value"], exclude_modules=["value"]))


@every_method
def test_layers_tell_the_widths_of_their_input_and_output(name):
    model = get_peft_model(backbone(), method(name))
    layers = [module for module in model.modules() if isinstance(module, TunerLayer)]
    for layer in layers:
        linears = [module for module in layer.get_base_layer().modules() if isinstance(module, nn.Linear)]
        if name == "adaptformer":  # beside an MLP, which ends as wide as it begins
            assert layer.in_features == layer.out_features == CONFIG.hidden_size
        elif linears:
            assert (layer.in_features, layer.out_features) == (linears[0].in_features, linears[0].out_features)
        else:
            assert layer.in_features == layer.out_features == CONFIG.hidden_size  # LayerNorm


def test_a_hadamard_layer_tells_the_widths_of_a_rectangular_linear():
    model = get_peft_model(nn.Sequential(nn.Linear(4, 6)), HadamardConfig(target_modules=["0"]))
    assert (model.base_model.model[0].in_features, model.base_model.model[0].out_features) == (4, 6)


@pytest.mark.parametrize("name", BACKBONES)
def test_default_targets_on_bare_models_and_under_other_heads(name):
    backbone_cls, config = BACKBONES[name]
    names = adapted_layers(get_peft_model(backbone_cls(config), SurmConfig()))
    ends = [f"encoder.layer.{i}.attention.self.{role}" for i in range(2) for role in ("query", "value")]
    assert [n.partition("encoder.")[1] + n.partition("encoder.")[2] for n in names] == ends


@every_method
def test_layers_to_transform_beside_default_targets(name):
    whole = adapted_layers(get_peft_model(backbone(), method(name)))
    for layers, wanted in ((1, {1}), ([0, 1], {0, 1}), ([1], {1})):
        part = adapted_layers(get_peft_model(backbone(), method(name, layers_to_transform=layers)))
        assert part == [n for n in whole if any(f".layer.{i}." in n for i in wanted)]


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ("layers_to_transform=7 is not possible: this model has layers 0 to 1", {"layers_to_transform": 7}),
        (r"'\.\*query' is a regular expression", {"target_modules": ".*query", "layers_to_transform": [0]}),
        (r"'\.\*query' is a regular expression", {"target_modules": ".*query", "layers_pattern": "layer"}),
    ],
)
def test_layers_that_cannot_be_chosen_are_refused(message, fields):
    with pytest.raises(UserError, match=message):
        get_peft_model(backbone(), SurmConfig(**fields))


def test_a_name_that_peft_owns_is_refused():
    register("surm", SurmConfig, LayerTuner)  # ours, as when this module is imported twice
    with pytest.raises(RuntimeError, match="PEFT .* has a method 'lora' of its own"):
        register("lora", SurmConfig, LayerTuner)
    with pytest.raises(RuntimeError, match="PEFT .* has a method 'surm' of its own"):
        register("surm", LoraConfig, LayerTuner)


@pytest.mark.parametrize(
    ("name", "peft_type", "key"),
    [
        ("circulant", "SURM", "surm_delta.a"),
        ("houlsby", "RESIDUAL", "residual_adapter.up.weight"),
        ("hadamard", "HADAMARD", "hadamard_adapter.scale"),
        ("dora_dynamic", "DORA_DYNAMIC", "dora_dynamic_delta.c"),
    ],
)
def test_names_in_saved_adapters_do_not_change(name, peft_type, key, tmp_path):
    """Adapters that were saved by earlier versions have these names."""
    get_peft_model(backbone(), method(name)).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["peft_type"] == peft_type
    assert any(saved.endswith(f".{key}") for saved in load_file(tmp_path / "adapter_model.safetensors"))


@every_method
def test_a_model_is_pickled_whole(name):
    model = stir(get_peft_model(backbone(), method(name)).base_model.model)
    assert torch.equal(logits(pickle.loads(pickle.dumps(model))), logits(model))


def test_our_adapters_need_no_package_of_the_benchmark_and_leave_the_warnings_of_the_process_alone():
    program = """if True:
        import sys
        extra = "omegaconf hydra wandb matplotlib datasets evaluate pandas pyarrow timm sklearn rich joblib".split()
        sys.modules.update(dict.fromkeys(extra))
        import surm_bench.system.torchvision_stub, warnings, transformers, peft
        from torch import nn
        before = list(warnings.filters)
        from surm_bench.adapters import SurmConfig
        assert warnings.filters == before, set(warnings.filters) - set(before)
        config = SurmConfig(structure="circulant", target_modules=["0"])
        model = peft.get_peft_model(nn.Sequential(nn.Linear(8, 8)), config)
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 16
        for name in extra:
            del sys.modules[name]
        import hydra.utils
        before = list(warnings.filters)
        import surm_bench.adapters.build
        assert warnings.filters == before, set(warnings.filters) - set(before)
    """
    subprocess.run([sys.executable, "-c", program], check=True)


def test_only_the_runner_is_spared_the_warnings_it_knows():
    config = AdapterConfig(name="circulant", peft={"_target_": "surm_bench.adapters.SurmConfig"})
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        module = backbone()
        attach(module, find_roles(name for name, _ in module.named_modules()), config)
        with pytest.raises(FutureWarning, match="is_gradient_checkpointing"):
            get_peft_model(backbone(), SurmConfig())


@pytest.mark.parametrize("name", ["b", "query", "layer", "dense"])
def test_a_second_adapter_named_as_a_part_of_the_model_is_refused(name, tmp_path):
    """PEFT would take every tensor with that name in its key for the second adapter's, and not save it in the first:
    a parameter of the adapter, a module above it, a module of the trained head."""
    model = stir(get_peft_model(backbone(), method("circulant", modules_to_save=HEAD)))
    before = logits(model)
    with pytest.raises(UserError, match=f"an adapter '{name}' beside another is not possible"):
        model.add_adapter(name, method("circulant", modules_to_save=HEAD))
    model.add_adapter("second", method("circulant", modules_to_save=HEAD))
    model.save_pretrained(tmp_path)
    assert close(logits(PeftModel.from_pretrained(backbone(), tmp_path)), before)


def test_an_only_adapter_may_be_named_as_a_part_of_the_model(tmp_path):
    model = stir(get_peft_model(backbone(), method("circulant"), adapter_name="b"))
    model.save_pretrained(tmp_path)
    assert close(logits(PeftModel.from_pretrained(backbone(), tmp_path / "b")), logits(model))


def test_a_second_adapter_by_a_regular_expression_has_the_size_of_the_first():
    """The expression matches what is inside the first adapter's layers too."""
    fields = {"target_modules": r".*\.(query|value).*"}
    model = get_peft_model(backbone(), method("lorta", **fields))
    model.add_adapter("second", method("lorta", **fields))
    sizes = [sum(p.numel() for n, p in model.named_parameters() if f".{name}." in n) for name in ("default", "second")]
    assert sizes == [3 * (24 + 24 // 4 + 4 + 2 + 2)] * 2  # r·(d + d/H + H + L + M)
