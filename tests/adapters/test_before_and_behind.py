"""SSF, RepAdapter and prefix tuning against a plain RoBERTa whose forward pass has them, by hooks or by hand."""

import copy
import math

import pytest
import timm
import torch
from peft import PrefixTuningConfig, get_peft_model
from support.roberta import HEADS, LAYERS, QUERY, D, backbone, logits, roles, stir, tokens
from torch import nn

from surm_bench.adapters import RepAdapterConfig, SsfConfig
from surm_bench.adapters.build import attach
from surm_bench.config import AdapterConfig
from surm_bench.errors import UserError
from surm_bench.models import split_qkv


def tuned_layer(model: nn.Module, name: str) -> nn.Module:
    return model.base_model.model.get_submodule(name)


def test_ssf_scales_and_shifts_behind_every_linear_and_norm():
    model, plain = stir(get_peft_model(backbone(), SsfConfig())), backbone()
    names = [name for name, m in plain.roberta.named_modules() if isinstance(m, nn.Linear | nn.LayerNorm)]
    assert len(names) == 1 + LAYERS * 8
    for name in names:
        adapter = tuned_layer(model, f"roberta.{name}").ssf_adapter["default"]
        factor, shift = 1 + adapter.scale.detach(), adapter.bias.detach()
        plain.roberta.get_submodule(name).register_forward_hook(
            lambda module, inputs, y, factor=factor, shift=shift: factor * y + shift
        )
    torch.testing.assert_close(logits(model), logits(plain), atol=1e-5, rtol=0)
    assert not torch.allclose(logits(model), logits(backbone()), atol=1e-3)
    torch.testing.assert_close(logits(model.merge_and_unload()), logits(plain), atol=1e-5, rtol=0)


def test_ssf_starts_as_its_authors_code():
    layer = get_peft_model(nn.Sequential(nn.Linear(4, 2000)), SsfConfig(target_modules=["0"])).base_model.model[0]
    for parameter in layer.ssf_adapter["default"].parameters():
        assert parameter.std().item() == pytest.approx(0.02, rel=0.1)
        assert parameter.mean().abs().item() < 0.002


def test_ssf_takes_the_norms_that_a_vit_has():
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, embed_dim=24, depth=2, num_heads=4, num_classes=3)
    split_qkv(vit)
    norms = {name for name, m in vit.named_modules() if isinstance(m, nn.LayerNorm)}
    model = get_peft_model(vit, SsfConfig())
    adapted = {name for name, m in model.base_model.model.named_modules() if hasattr(m, "ssf_adapter")}
    assert norms == {"blocks.0.norm1", "blocks.0.norm2", "blocks.1.norm1", "blocks.1.norm2", "norm"}
    assert norms < adapted and len(adapted) == 5 + 2 * 6


def answer(adapter: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """0.5·(B·(A·x + a) + b), B of two blocks."""
    narrow = x @ adapter.down.weight.T + adapter.down.bias
    half = narrow.shape[-1] // 2
    blocks = [narrow[..., :half] @ adapter.up[0].T, narrow[..., half:] @ adapter.up[1].T]
    return (0.5 * (torch.cat(blocks, -1) + adapter.bias)).detach()


def test_repadapter_stands_before_attention_and_mlp():
    model, plain = stir(get_peft_model(backbone(), RepAdapterConfig(bottleneck=4, scale=0.5))).eval(), backbone()
    for index, layer in enumerate(plain.roberta.encoder.layer):
        first = tuned_layer(model, QUERY.format(index)).adapters["default"].owned
        second = tuned_layer(model, f"roberta.encoder.layer.{index}.intermediate.dense").adapters["default"].owned
        for module, adapter in ((layer.attention.self, first), (layer.intermediate, second)):
            module.register_forward_pre_hook(
                lambda module, inputs, adapter=adapter: (inputs[0] + answer(adapter, inputs[0]), *inputs[1:])
            )
    torch.testing.assert_close(logits(model), logits(plain), atol=1e-5, rtol=0)
    assert not torch.allclose(logits(model), logits(backbone()), atol=1e-3)
    assert model.get_nb_trainable_parameters()[0] == 2 * LAYERS * (D * 4 + 4 + D * 2 + D)
    torch.testing.assert_close(logits(model.merge_and_unload()), logits(plain), atol=1e-5, rtol=0)


def test_repadapter_without_roles_has_one_for_each_linear():
    """Two Linears of one Sequential have the same parent, and not the same input."""
    network = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 4, bias=False))
    plain, x = copy.deepcopy(network), torch.randn(3, 8)
    model = stir(get_peft_model(network, RepAdapterConfig(scale=0.5, target_modules=["0", "2"]))).eval()
    first, second = (model.base_model.model[i].adapters["default"].owned for i in (0, 2))
    h = torch.tanh(plain[0](x + answer(first, x)))
    wanted = plain[2](h + answer(second, h))
    torch.testing.assert_close(model(x), wanted)
    model.merge_adapter()
    torch.testing.assert_close(model(x), wanted)
    model.unmerge_adapter()
    assert model.base_model.model[2].base_layer.bias is None
    assert torch.equal(model.base_model.model[0].base_layer.weight, plain[0].weight)


PREFIX = {"_target_": "peft.PrefixTuningConfig", "task_type": "SEQ_CLS", "num_virtual_tokens": 5}


def test_a_prefix_is_keys_and_values_before_the_texts_own():
    """Oracle: attention by hand, on a plain RoBERTa whose positions begin five later."""
    model = attach(backbone(), roles(), AdapterConfig("prefix", "Prefix", 1e-2, peft=dict(PREFIX))).eval()
    assert isinstance(model.active_peft_config, PrefixTuningConfig)
    stir(model)
    pairs = model.prompt_encoder["default"].embedding.weight.detach().view(5, LAYERS, 2, D)
    plain = backbone()
    plain.classifier.load_state_dict(model.base_model.classifier.modules_to_save["default"].state_dict())

    def attention(layer: nn.Module, keys: torch.Tensor, values: torch.Tensor):
        def heads(x: torch.Tensor) -> torch.Tensor:
            return x.unflatten(-1, (HEADS, -1)).transpose(-2, -3)

        def forward(hidden: torch.Tensor, *args, **kwargs) -> tuple[torch.Tensor, None]:
            k, v = (
                torch.cat((fixed.expand(len(hidden), -1, -1), own(hidden)), 1)
                for fixed, own in ((keys, layer.key), (values, layer.value))
            )
            scores = heads(layer.query(hidden)) @ heads(k).mT / math.sqrt(D // HEADS)
            return (scores.softmax(-1) @ heads(v)).transpose(1, 2).flatten(-2), None

        return forward

    for index, layer in enumerate(plain.roberta.encoder.layer):
        layer.attention.self.forward = attention(layer.attention.self, pairs[:, index, 0], pairs[:, index, 1])
    positions = torch.arange(tokens().shape[1]) + 1 + 1 + 5  # RoBERTa counts from one behind its padding index, 1
    with torch.no_grad():
        wanted = plain(tokens(), position_ids=positions[None]).logits
    torch.testing.assert_close(logits(model), wanted, atol=1e-5, rtol=0)


MISFITS = {
    "groups=3 does not divide the bottleneck's width, 8": lambda: RepAdapterConfig(groups=3),
    "groups=5 does not divide a layer's input, 24": lambda: get_peft_model(
        backbone(), RepAdapterConfig(bottleneck=10, groups=5)
    ),
    "bottleneck=0 is not possible": lambda: RepAdapterConfig(bottleneck=0),
    "dropout=-1 is not possible": lambda: RepAdapterConfig(dropout=-1),
    "is a Embedding, not a Linear or LayerNorm": lambda: get_peft_model(
        backbone(), SsfConfig(target_modules=["word_embeddings"])
    ),
}


@pytest.mark.parametrize(("message", "make"), MISFITS.items(), ids=MISFITS)
def test_what_does_not_fit_is_refused(message, make):
    with pytest.raises(UserError, match=message):
        make()
