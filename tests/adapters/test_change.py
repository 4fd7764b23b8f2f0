"""What training did to the weights, against numpy: ΔW made by hand, LoRA's B·A, trained layers, and PEFT's merging."""

import copy

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from test_configs import OVERRIDES, backbone, composed, fits, logits, two_steps
from torch import nn

from surm_bench.adapters import ResidualAdapterConfig, SubsetConfig, SurmConfig
from surm_bench.adapters.build import attach
from surm_bench.adapters.change import original_weights, weight_changes
from surm_bench.adapters.roles import find_roles
from surm_bench.config.composition import choices

NO_WEIGHT_CHANGES = ("bitfit", "layernorm", "linear_probe")
ANSWERS_ACTIVATIONS = ("adapter_", "adaptformer", "compacter", "lora_pevit", "prefix")


def described(change: np.ndarray, weight: np.ndarray) -> dict:
    singular = np.linalg.svd(change, compute_uv=False)
    both = (weight + change).ravel(), weight.ravel()
    return {
        "norm": np.sqrt((change**2).sum()),
        "weight_norm": np.sqrt((weight**2).sum()),
        "stable_rank": (singular**2).sum() / singular[0] ** 2,
        "singular_values": singular[:8].tolist(),
        "rank": int((singular > 0.01 * singular[0]).sum()),
        "cosine_distance": 1 - both[0] @ both[1] / np.linalg.norm(both[0]) / np.linalg.norm(both[1]),
    }


def same(row: dict, wanted: dict, relative: float = 1e-4) -> bool:
    close = {key: row[key] == pytest.approx(value, rel=relative, abs=1e-6) for key, value in wanted.items()}
    return row.keys() == {"layer", "role"} | wanted.keys() and all(close.values())


def numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def test_a_change_of_known_singular_values():
    """U·diag(s)·Vᵀ: of ten singular values eight are kept, and nine are above a hundredth of the first."""
    rng = np.random.default_rng(0)
    singular = np.array([4.0, 3.0, 2.0, 1.0, 0.5, 0.4, 0.3, 0.2, 0.05, 0.03])
    left, right = (np.linalg.qr(rng.standard_normal((n, 10)))[0] for n in (12, 10))
    model = get_peft_model(nn.Sequential(nn.Linear(10, 12)), SubsetConfig())
    weight = numpy(model.base_model.model[0].weight)
    original = original_weights(model)
    assert weight_changes(model, original) == []
    change = (left * singular) @ right.T
    model.base_model.model[0].weight.data += torch.from_numpy(change).float()
    (row,) = weight_changes(model, original)
    assert (row["layer"], row["role"], row["rank"]) == ("0", None, 9)
    assert row["singular_values"] == pytest.approx(singular[:8], rel=1e-5)
    assert row["norm"] == pytest.approx(np.sqrt((singular**2).sum()), rel=1e-5)
    assert row["stable_rank"] == pytest.approx((singular**2).sum() / 16, rel=1e-5)
    assert same(row, described(change, weight))


def test_lora_by_its_factors():
    torch.manual_seed(0)
    model = get_peft_model(nn.Sequential(nn.Linear(8, 12)), LoraConfig(r=3, lora_alpha=6, target_modules=["0"]))
    layer = model.base_model.model[0]
    assert original_weights(model) == {}
    nn.init.normal_(layer.lora_B["default"].weight)
    (row,) = weight_changes(model, {})
    change = 2 * numpy(layer.lora_B["default"].weight) @ numpy(layer.lora_A["default"].weight)
    assert same(row, described(change, numpy(layer.base_layer.weight))) and row["rank"] == 3


def test_active_adapters_add_up():
    model = get_peft_model(nn.Sequential(nn.Linear(6, 6)), SurmConfig(structure="toeplitz", target_modules=["0"]))
    model.add_adapter("second", SurmConfig(structure="circulant", target_modules=["0"], alpha=3.0))
    layer = model.base_model.model[0]
    for parameter in layer.surm_delta.parameters():
        nn.init.normal_(parameter)
    deltas = [numpy(layer.surm_delta[name].dense()) for name in ("default", "second")]
    weight = numpy(layer.base_layer.weight)
    assert same(weight_changes(model, {})[0], described(deltas[0], weight))
    model.base_model.set_adapter(["default", "second"])
    assert same(weight_changes(model, {})[0], described(deltas[0] + 3 * deltas[1], weight))


def test_the_head_and_what_is_no_change_of_a_weight_are_left_out():
    network = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 2))
    config = ResidualAdapterConfig(bottleneck=3, target_modules=["0"], modules_to_save=["1"])
    model = get_peft_model(network, config)
    assert original_weights(model) == {}
    for parameter in model.parameters():
        parameter.data += 1
    assert weight_changes(model, {}) == []


def test_merged_weights_are_refused():
    model = get_peft_model(nn.Sequential(nn.Linear(6, 6)), SurmConfig(structure="toeplitz", target_modules=["0"]))
    model.merge_adapter()
    with pytest.raises(ValueError, match="merged into 0"):
        weight_changes(model, {})


@pytest.mark.parametrize(
    ("adapter", "family"), [(a, f) for a in choices("adapter") for f in ("bert", "vit") if fits(a, f)]
)
def test_every_adapter_as_pefts_merging_has_it(adapter, family):
    """Oracle: the pretrained weights, and those of a copy of the model that PEFT has merged; and the model is left
    as it was, to the bit."""
    config = composed(f"adapter={adapter}", *OVERRIDES.get(adapter, [])).adapter
    module = backbone(family)
    pretrained = {name: numpy(m.weight) for name, m in module.named_modules() if isinstance(m, nn.Linear)}
    roles = find_roles(name for name, _ in module.named_modules())
    model: PeftModel = attach(module, roles, config)
    original = original_weights(model)
    two_steps(model, family)
    answer, state = logits(model, family), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    model.train()
    rows = weight_changes(model, original)
    assert model.training and gradients == {name: p.requires_grad for name, p in model.named_parameters()}
    after = model.state_dict()
    assert after.keys() == state.keys() and all(torch.equal(tensor, after[name]) for name, tensor in state.items())
    assert torch.equal(logits(model, family), answer)
    if adapter in NO_WEIGHT_CHANGES or adapter.startswith(ANSWERS_ACTIVATIONS):
        assert rows == [] and original == {}
        return
    merged = copy.deepcopy(model)
    merged.merge_adapter()
    found = {row["layer"]: row for row in rows}
    in_head = {name for name in pretrained if name.startswith(tuple(roles["head"]))}
    for name in pretrained.keys() - in_head:
        layer = merged.get_base_model().get_submodule(name)
        change = numpy(getattr(layer, "base_layer", layer).weight) - pretrained[name]
        assert (name in found) == (np.abs(change).max() > 1e-6), name
        if name in found:
            row, wanted = found[name], described(change, pretrained[name])
            assert row["role"] in roles and name in roles[row["role"]]
            assert row["norm"] == pytest.approx(wanted["norm"], rel=1e-2)  # PEFT's sum is rounded to fp32
            assert row["singular_values"] == pytest.approx(
                wanted["singular_values"], rel=1e-2, abs=1e-2 * wanted["norm"]
            )
            assert row["cosine_distance"] == pytest.approx(wanted["cosine_distance"], rel=3e-2, abs=1e-9)
            assert row["weight_norm"] == pytest.approx(wanted["weight_norm"])
