"""MELoRA, LoRA-XS, LoRTA, LoRA-Fix and KAdaptation, which PEFT lacks: each ΔW against its dense formula."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from support.roberta import HEADS, LAYERS, QUERY, D, backbone, logits, one_linear, shift_of, stir
from torch import nn

from surm_bench.adapters import KAdaptationConfig, LoraFixConfig, LoraXsConfig, LortaConfig, MeloraConfig


def test_melora_is_block_diagonal_low_rank():
    layer, _ = one_linear(MeloraConfig(n=4, r=3, alpha=6.0, target_modules=["0"]))
    a, b = layer.melora_delta["default"].a, layer.melora_delta["default"].b
    dense = torch.zeros(12, 8)
    for i in range(4):
        dense[3 * i : 3 * i + 3, 2 * i : 2 * i + 2] = 2.0 * b[i] @ a[i]  # alpha/r
    torch.testing.assert_close(layer.get_delta_weight("default"), dense)
    torch.testing.assert_close(shift_of(layer), dense, atol=1e-6, rtol=1e-5)
    assert (a.shape, b.shape) == ((4, 3, 2), (4, 3, 3))


def test_lora_xs_moves_between_the_leading_singular_vectors():
    """ΔW = (alpha/r)·U·R·(S·Vᵀ), so that R = 1 doubles the leading part of the weight: signs and order cancel."""
    layer, weight = one_linear(LoraXsConfig(r=3, alpha=6.0, target_modules=["0"]))
    u, s, v = torch.linalg.svd(weight.double())
    delta = layer.lora_xs_delta["default"]
    core = delta.r.detach().double()
    span = u[:, :3].T @ layer.get_delta_weight("default").detach().double() @ v[:3].T
    signs = (u[:, :3].T @ delta.b.double()).diagonal().round()
    torch.testing.assert_close(signs.abs(), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(span, 2.0 * signs[:, None] * core * (signs * s[:3]), atol=1e-6, rtol=1e-5)
    delta.r.data = torch.eye(3)
    leading = 2.0 * (u[:, :3] * s[:3]) @ v[:3]
    torch.testing.assert_close(layer.get_delta_weight("default").double(), leading, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(shift_of(layer).double(), leading, atol=1e-6, rtol=1e-5)


def test_lora_xs_serves_a_backbone_whose_own_vectors_have_other_signs(tmp_path):
    """The frozen factors come from the file: a backbone that is no longer the pretrained one gets the same delta."""
    model = stir(get_peft_model(backbone(), LoraXsConfig(r=3)))
    model.save_pretrained(tmp_path)
    other = backbone()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.neg_()
    loaded = PeftModel.from_pretrained(other, tmp_path)
    for index in range(LAYERS):
        one, two = (m.base_model.model.get_submodule(QUERY.format(index)) for m in (model, loaded))
        assert torch.equal(one.get_delta_weight("default"), two.get_delta_weight("default"))


def test_lorta_is_one_cp_tensor():
    """Oracle: the entries of the five-way tensor by einsum; in each matrix, heads and their entries are columns."""
    model = stir(get_peft_model(backbone(), LortaConfig(r=3, alpha=6.0)))
    first = model.base_model.model.get_submodule(QUERY.format(0)).lorta_delta["default"].shared
    tensor = 2.0 * torch.einsum("ir,jr,hr,lr,mr->lmihj", first.a, first.b, first.heads, first.layers, first.matrices)
    assert tensor.shape == (LAYERS, 4, D, HEADS, D // HEADS)
    assert model.get_nb_trainable_parameters()[0] == 3 * (D + D // HEADS + HEADS + LAYERS + 4)
    plain = backbone()
    for index, layer in enumerate(plain.roberta.encoder.layer):
        attention = layer.attention
        linears = [attention.self.query, attention.self.key, attention.self.value, attention.output.dense]
        for matrix, linear in enumerate(linears):
            linear.weight.data += tensor[index, matrix].flatten(1).detach()  # (width, heads·head size)
    torch.testing.assert_close(logits(model), logits(plain), atol=1e-5, rtol=0)
    assert not torch.allclose(logits(model), logits(backbone()), atol=1e-3)


def test_lorta_starts_as_its_authors_code():
    """torch's kaiming_uniform_, fan-in r, with a = √5 for A and with a = 0 for heads, layers and matrices; alpha 1."""
    torch.manual_seed(0)
    layer = nn.Linear(600, 600)
    config = LortaConfig(r=150, alpha=1.0, heads=300, target_modules=["0"])
    factors = get_peft_model(nn.Sequential(layer), config).base_model.model[0].lorta_delta["default"]
    assert factors.scale == 1 / 150
    shared = factors.owned
    for factor, bound in (
        (shared.a, 150**-0.5),
        *((f, (6 / 150) ** 0.5) for f in (shared.heads, shared.layers, shared.matrices)),
    ):
        assert 0.95 * bound < factor.abs().max() <= bound
        assert factor.std().item() == pytest.approx(bound / 3**0.5, rel=0.2)  # uniform
    assert not shared.b.any()


def test_lorta_saves_its_tensor_once(tmp_path):
    from safetensors.torch import load_file

    get_peft_model(backbone(), LortaConfig(r=3)).save_pretrained(tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert sorted(name.rpartition(".")[2] for name in saved) == ["a", "b", "heads", "layers", "matrices"]


def test_lora_fix_is_lora_with_a_frozen():
    """Oracle: PEFT's LoRA with the same factors, of which B alone gets a gradient."""
    config = LoraFixConfig(r=3, alpha=6.0, target_modules=["0"])
    layer, weight = one_linear(config)
    delta = layer.lora_fix_delta["default"]
    assert [name for name, _ in delta.named_parameters()] == ["b"]
    bound = (6 / ((1 + 5) * 8)) ** 0.5  # kaiming-uniform of fan-in 8 with a = √5
    assert delta.a.abs().max() < bound and delta.a.std() == pytest.approx(bound / 3**0.5, rel=0.3)
    lora = get_peft_model(nn.Sequential(nn.Linear(8, 12)), LoraConfig(r=3, lora_alpha=6, target_modules=["0"]))
    peft = lora.base_model.model[0]
    peft.base_layer.load_state_dict(layer.base_layer.state_dict())
    peft.lora_A["default"].weight.data, peft.lora_B["default"].weight.data = delta.a, delta.b.data
    x = torch.randn(5, 8)
    torch.testing.assert_close(layer(x), peft(x), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(layer.get_delta_weight("default"), peft.get_delta_weight("default"))
    frozen = delta.a.clone()
    layer(x).sum().backward()
    assert torch.equal(delta.a, frozen) and delta.b.grad.abs().max() > 0


def test_kadaptation_is_a_sum_of_kronecker_products():
    """Oracle: numpy's kron, with one set of left factors for all queries and one for all values."""
    model, plain = stir(get_peft_model(backbone(), KAdaptationConfig(n=4, alpha=3.0))), backbone()
    first = model.base_model.model.roberta.encoder.layer[0].attention.self
    for index, layer in enumerate(plain.roberta.encoder.layer):
        for part in ("query", "value"):
            rules = getattr(first, part).kadaptation_delta["default"].owned
            name = f"roberta.encoder.layer.{index}.attention.self.{part}"
            delta = model.base_model.model.get_submodule(name).kadaptation_delta["default"]
            products = [
                np.kron(*(np.outer(*(row.detach().numpy() for row in pair)) for pair in ((a, b), (u, v))))
                for a, b, u, v in zip(rules.a, rules.b, delta.u, delta.v, strict=True)
            ]
            getattr(layer.attention.self, part).weight.data += 3.0 * torch.from_numpy(sum(products))
    torch.testing.assert_close(logits(model), logits(plain), atol=1e-5, rtol=0)
    assert not torch.allclose(logits(model), logits(backbone()), atol=1e-3)
    assert model.get_nb_trainable_parameters()[0] == 2 * LAYERS * 2 * D + 2 * 2 * 4**2
