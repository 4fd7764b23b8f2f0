"""What training did to the weights, against numpy: a ΔW made by hand, LoRA's B·A, and sums of adapters."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from support.weight_changes import described, numpy
from torch import nn

from surm_bench.adapters import ResidualAdapterConfig, SubsetConfig, SurmConfig
from surm_bench.adapters.change import original_weights, weight_changes


def same(row: dict, wanted: dict, relative: float = 1e-4) -> bool:
    close = {key: row[key] == pytest.approx(value, rel=relative, abs=1e-6) for key, value in wanted.items()}
    return row.keys() == {"layer", "role"} | wanted.keys() and all(close.values())


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


def test_the_head_and_residual_adapters_are_no_weight_changes():
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
