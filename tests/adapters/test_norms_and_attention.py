"""Adapters on norms of other kinds and on the layers of attention."""

import pytest
import torch
from peft import get_peft_model
from support.base_layers import FIRST, linear, tuned, x
from support.roberta import D, stir
from torch import nn

from surm_bench.adapters import (
    HadamardConfig,
    LoraPevitConfig,
    LortaConfig,
    SsfConfig,
    SurmConfig,
)
from surm_bench.adapters.tuner_layer import tuner_layers
from surm_bench.errors import UserError

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
