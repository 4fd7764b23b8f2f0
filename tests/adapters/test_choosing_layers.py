"""first_layer and roles choose the layers that get an adapter."""

import copy

import pytest
from peft import IA3Config, LoraConfig, get_peft_model
from support.roberta import backbone, roles
from torch import nn

from surm_bench.adapters import ResidualAdapterConfig, SurmConfig
from surm_bench.adapters.build import attach, peft_config
from surm_bench.adapters.roles import from_layer, layer_of
from surm_bench.adapters.targets import place
from surm_bench.config import AdapterConfig
from surm_bench.errors import UserError

LAYERS = 3


def config(**fields) -> AdapterConfig:
    return AdapterConfig(name="test", label="Test", lr=1e-3, **fields)


def test_layer_of():
    names = {
        "roberta.encoder.layer.11.attention.self.query": 11,
        "blocks.3.attn.qkv.q": 3,
        "classifier": None,
        "roberta.embeddings.LayerNorm": None,
    }
    assert {name: layer_of(name) for name in names} == names


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("roberta.encoder.layer.11.output.dense", "roberta.encoder.layer.N.output.dense"),
        ("0.q", "N.q"),  # a stack that is the model itself
        ("model.conv2.layers.0", "model.conv2.layers.N"),
    ],
)
def test_place(name, where):
    assert place(name) == where


def test_a_stack_that_is_the_model_itself():
    """PEFT's own LoRA as the oracle: both adapt q in both layers."""
    stack = nn.Sequential(*(nn.ModuleDict({"q": nn.Linear(4, 4)}) for _ in range(2)))
    adapted = [
        [name for name, module in get_peft_model(copy.deepcopy(stack), method).named_modules() if layers in name]
        for method, layers in (
            (SurmConfig(target_modules=["q"]), "surm_delta.default"),
            (LoraConfig(target_modules=["q"]), "lora_A.default"),
        )
    ]
    assert [name.partition(".surm")[0] for name in adapted[0]] == [name.partition(".lora")[0] for name in adapted[1]]
    assert len(adapted[0]) == 2


@pytest.mark.parametrize("chosen", [["fc2"], []])
def test_first_layer_drops_the_adapters_below(chosen):
    """By roles, and where the placement decides; both leave one of three layers."""
    residual = {"_target_": "surm_bench.adapters.ResidualAdapterConfig", "bottleneck": 2, "placement": "pfeiffer"}
    model = attach(backbone(layers=LAYERS), roles(LAYERS), config(roles=chosen, first_layer=2, peft=residual))
    adapted = [name for name, module in model.named_modules() if hasattr(module, "residual_adapter")]
    assert adapted == ["base_model.model.roberta.encoder.layer.2.output.dense"]


def test_first_layer_holds_for_methods_of_peft_and_for_subsets():
    lora = config(roles=["q", "v"], first_layer=1, peft={"_target_": "peft.LoraConfig", "r": 2})
    model = attach(backbone(layers=LAYERS), roles(LAYERS), lora)
    layers = {layer_of(name) for name, parameter in model.named_parameters() if "lora_A" in name}
    assert layers == {1, 2}
    norms = config(roles=["norm"], first_layer=2, peft={"_target_": "surm_bench.adapters.SubsetConfig"})
    model = attach(backbone(layers=LAYERS), roles(LAYERS), norms)
    trained = {n for n, p in model.named_parameters() if p.requires_grad and "LayerNorm" in n}
    assert {layer_of(name) for name in trained} == {2, None}  # the embeddings' norm is in no layer


@pytest.mark.parametrize("first", [3, -1])
def test_first_layer_beyond_the_model_is_refused(first):
    with pytest.raises(UserError, match=f"first_layer={first} is not possible: this model has layers 0 to 2"):
        from_layer(roles(LAYERS), first)


def test_first_layer_without_roles_is_refused():
    everything = config(first_layer=1, peft={"_target_": "surm_bench.adapters.SubsetConfig"})
    with pytest.raises(UserError, match="has no roles: first_layer=1 has no effect without them"):
        peft_config(everything, roles(LAYERS))


def test_targets_named_in_full_are_left_alone():
    residual = {"_target_": "surm_bench.adapters.ResidualAdapterConfig", "bottleneck": 2, "target_modules": ["query"]}
    assert peft_config(config(peft=residual), roles(LAYERS)).target_modules == ["query"]


def test_role_fields_fill_other_lists_of_modules():
    made = peft_config(
        config(
            roles=["k", "v", "fc2"],
            role_fields={"feedforward_modules": ["fc2"]},
            first_layer=1,
            peft={"_target_": "peft.IA3Config"},
        ),
        roles(LAYERS),
    )
    assert isinstance(made, IA3Config)
    assert made.feedforward_modules == {f"roberta.encoder.layer.{i}.output.dense" for i in (1, 2)}
    assert len(made.target_modules) == 6
    with pytest.raises(UserError, match="unknown role 'fc3'"):
        peft_config(
            config(roles=["k"], role_fields={"feedforward_modules": ["fc3"]}, peft=made.to_dict()), roles(LAYERS)
        )
    nowhere = config(roles=["q"], role_fields={"feedforward": ["q"]}, peft={"_target_": "peft.IA3Config"})
    with pytest.raises(UserError, match="unexpected keyword argument 'feedforward'"):
        peft_config(nowhere, roles(LAYERS))


def test_placement_of_residuals_is_unchanged_by_layer_zero():
    residual = {"_target_": "surm_bench.adapters.ResidualAdapterConfig", "bottleneck": 2}
    made = peft_config(config(peft=residual), roles(LAYERS))
    assert isinstance(made, ResidualAdapterConfig)
    assert len(made.target_modules) == 2 * LAYERS
