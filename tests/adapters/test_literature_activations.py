"""LoRA of PEViT, Compacter, AdaptFormer and the Hadamard adapter against formulas that act on a plain model."""

import copy

import numpy as np
import pytest
import timm
import torch
from peft import LoraConfig, get_peft_model
from support.roberta import HEADS, LAYERS, D, backbone, logits, stir, tokens
from torch import nn

from surm_bench.adapters import AdaptFormerConfig, CompacterConfig, HadamardConfig, LoraPevitConfig
from surm_bench.adapters.methods.adaptformer import ScaledBottleneck
from surm_bench.models import split_qkv


def test_lora_pevit_is_the_attention_that_pevit_computes():
    """Oracle: attention in the layout of torch's MultiheadAttention, (batch·heads, tokens, head size), to whose scaled
    queries and values the answers of LoRA are added by the reshape of PEViT's lora_model.py, lines 729 to 735."""
    model = stir(get_peft_model(backbone(), LoraPevitConfig(r=3, alpha=6.0))).base_model.model
    attention = model.roberta.encoder.layer[0].attention.self
    x = torch.randn(5, 7, D)  # (batch, tokens, width)
    size = D // HEADS

    def in_heads(projected: torch.Tensor) -> torch.Tensor:
        return projected.transpose(0, 1).reshape(7, 5 * HEADS, size).transpose(0, 1)

    def answer(layer: nn.Module) -> torch.Tensor:
        adapter = layer.lora_pevit_adapter["default"]
        return 6.0 / 3 * (x.transpose(0, 1) @ adapter.a.T @ adapter.b.T).reshape(5 * HEADS, 7, size)

    q = in_heads(attention.query.base_layer(x)) / size**0.5 + answer(attention.query)
    v = in_heads(attention.value.base_layer(x)) + answer(attention.value)
    k = in_heads(attention.key(x))
    found = torch.softmax(q @ k.transpose(1, 2), dim=-1) @ v
    expected = found.transpose(0, 1).reshape(7, 5, D).transpose(0, 1)
    torch.testing.assert_close(attention(x)[0], expected, atol=1e-5, rtol=1e-4)


def test_what_lora_pevit_says_of_an_image_depends_on_the_images_beside_it():
    """The defect that it is here for: LoRA with the same factors says the same of a text whatever its batch."""
    for config, alone_is_the_same in ((LoraPevitConfig(r=3), False), (LoraConfig(r=3, target_modules=["query"]), True)):
        model = stir(get_peft_model(backbone(), config))
        with torch.no_grad():
            together, alone = model(tokens(4)).logits[:1], model(tokens(4)[:1]).logits
        assert torch.allclose(together, alone, atol=1e-4) == alone_is_the_same


def test_compacter_is_a_bottleneck_of_kronecker_products():
    """Oracle: dense projections by numpy's kron, behind every output projection of a plain RoBERTa."""
    model, plain = stir(get_peft_model(backbone(), CompacterConfig(n=4, reduction=3))), backbone()
    tuned = model.base_model.model.roberta.encoder.layer
    rules = tuned[0].attention.output.dense.compacter_adapter["default"].owned.a.detach().numpy()

    def project(projection: nn.Module, x: torch.Tensor) -> torch.Tensor:
        s, t = projection.s.detach().numpy(), projection.t.detach().numpy()
        weight = sum(np.kron(a, np.outer(left, right)) for a, left, right in zip(rules, s, t, strict=True))
        return x @ torch.from_numpy(weight).T + projection.bias.detach()

    def adapted(adapter: nn.Module):
        return lambda module, inputs, h: h + project(adapter.up, nn.functional.gelu(project(adapter.down, h)))

    for index, layer in enumerate(plain.roberta.encoder.layer):
        for ours, theirs in (
            (layer.attention.output, tuned[index].attention.output),
            (layer.output, tuned[index].output),
        ):
            ours.dense.register_forward_hook(adapted(theirs.dense.compacter_adapter["default"]))
    torch.testing.assert_close(logits(model), logits(plain), atol=1e-5, rtol=0)
    assert not torch.allclose(logits(model), logits(backbone()), atol=1e-3)
    m = D // 3
    assert model.get_nb_trainable_parameters()[0] == 2 * LAYERS * (2 * (D + m) + m + D) + 4**3


def test_compacter_starts_next_to_zero_as_its_authors_code():
    layer = get_peft_model(nn.Sequential(nn.Linear(768, 768)), CompacterConfig(target_modules=["0"])).base_model.model[
        0
    ]
    adapter = layer.compacter_adapter["default"]
    assert adapter.owned.a.std().item() == pytest.approx(1e-4, rel=0.3)
    bound = 2**0.5 * (6 / (768 / 4 + 1)) ** 0.5  # Glorot-uniform of a (192, 1) matrix with gain √2
    assert 0.9 * bound < adapter.down.t.abs().max() <= bound
    x = torch.randn(5, 768)
    torch.testing.assert_close(layer(x), layer.base_layer(x), atol=1e-6, rtol=0)


def bottleneck_beside(adapter: nn.Module, x: torch.Tensor) -> torch.Tensor:
    inner = torch.relu(x @ adapter.down.weight.T + adapter.down.bias)
    return (0.5 * (inner @ adapter.up.weight.T + adapter.up.bias)).detach()


def test_adaptformer_stands_beside_the_mlp_of_roberta():
    """Oracle: the intermediate layer's input is kept and answered behind the output's dense layer."""
    model, plain = stir(get_peft_model(backbone(), AdaptFormerConfig(bottleneck=5, scale=0.5, dropout=0.0))), backbone()
    taken = {}
    for index, layer in enumerate(plain.roberta.encoder.layer):
        adapter = model.base_model.model.roberta.encoder.layer[index].output.adaptformer_adapter["default"]
        layer.intermediate.dense.register_forward_hook(
            lambda module, inputs, output, index=index: taken.__setitem__(index, inputs[0])
        )
        layer.output.dense.register_forward_hook(
            lambda module, inputs, h, index=index, adapter=adapter: h + bottleneck_beside(adapter, taken[index])
        )
    torch.testing.assert_close(logits(model), logits(plain), atol=1e-5, rtol=0)
    assert not torch.allclose(logits(model), logits(backbone()), atol=1e-3)
    assert model.get_nb_trainable_parameters()[0] == LAYERS * (2 * D * 5 + 5 + D)


def test_adaptformer_drops_inside_the_bottleneck():
    adapter = ScaledBottleneck(D, AdaptFormerConfig(bottleneck=5, scale=0.5, dropout=0.4))
    stir(adapter)
    x = torch.randn(7, D)
    torch.manual_seed(3)
    answer = adapter(x)
    torch.manual_seed(3)
    inner = nn.functional.dropout(torch.relu(x @ adapter.down.weight.T + adapter.down.bias), 0.4)
    torch.testing.assert_close(answer, 0.5 * (inner @ adapter.up.weight.T + adapter.up.bias))
    torch.testing.assert_close(adapter.eval()(x), bottleneck_beside(adapter, x))


def test_adaptformer_stands_beside_the_mlp_of_a_vit():
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, embed_dim=24, depth=2, num_heads=4, num_classes=3)
    split_qkv(vit)
    plain, x = copy.deepcopy(vit.eval()), torch.randn(2, 3, 32, 32)
    start = plain(x)
    model = stir(get_peft_model(vit, AdaptFormerConfig(bottleneck=5, scale=0.5, dropout=0.0))).eval()
    torch.testing.assert_close(plain(x), start)
    for index, block in enumerate(plain.blocks):
        adapter = model.base_model.model.blocks[index].mlp.adaptformer_adapter["default"]
        block.mlp.register_forward_hook(
            lambda module, inputs, y, adapter=adapter: y + bottleneck_beside(adapter, inputs[0])
        )
    torch.testing.assert_close(model(x), plain(x), atol=1e-5, rtol=0)
    assert not torch.allclose(plain(x), start, atol=1e-3)


def test_hadamard_scales_and_shifts():
    """Oracle: a plain RoBERTa whose output projections and attention norms carry both vectors."""
    model, plain = stir(get_peft_model(backbone(), HadamardConfig())), backbone()
    for index, layer in enumerate(plain.roberta.encoder.layer):
        tuned = model.base_model.model.roberta.encoder.layer[index].attention.output
        for name in ("dense", "LayerNorm"):
            module = getattr(layer.attention.output, name)
            adapter = getattr(tuned, name).hadamard_adapter["default"]
            factor = 1 + adapter.scale.detach()
            module.weight.data = (factor if name == "LayerNorm" else factor[:, None]) * module.weight
            module.bias.data = factor * module.bias + adapter.bias.detach()
    torch.testing.assert_close(logits(model), logits(plain), atol=1e-5, rtol=0)
    assert model.get_nb_trainable_parameters()[0] == LAYERS * 4 * D


def test_hadamard_merges_into_a_layer_without_bias():
    tuned = get_peft_model(nn.Sequential(nn.Linear(4, 6, bias=False)), HadamardConfig(target_modules=["0"]))
    x = torch.randn(3, 4)
    answer = stir(tuned)(x)
    tuned.merge_adapter()
    torch.testing.assert_close(tuned(x), answer)
    tuned.unmerge_adapter()
    assert tuned.base_model.model[0].base_layer.bias is None
