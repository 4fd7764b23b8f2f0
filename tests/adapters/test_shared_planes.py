"""FacT and Aurora against their decompositions, written entry by entry and put into a plain RoBERTa; their counts."""

import copy

import pytest
import torch
from peft import get_peft_model
from support.roberta import backbone, logits, stir, tokens
from torch import nn
from transformers import RobertaConfig, RobertaForSequenceClassification

from surm_bench.adapters import AuroraConfig, CompacterConfig, FactConfig
from surm_bench.errors import UserError

D, R, LAYERS, TIMES = 12, 3, 2, 2
NAMES = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
         "o": "attention.output.dense", "fc1": "intermediate.dense", "fc2": "output.dense"}  # fmt: skip


def wide_backbone() -> nn.Module:
    """Its MLP is twice as wide as the model."""
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=60,
        hidden_size=D,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=TIMES * D,
        max_position_embeddings=40,
        initializer_range=0.2,
        num_labels=3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return RobertaForSequenceClassification(config).eval()


def fact_core(delta: nn.Module, shared: nn.Module, a: int, b: int) -> torch.Tensor:
    return delta.sigma[a * R : (a + 1) * R, b * R : (b + 1) * R]


def aurora_core(delta: nn.Module, shared: nn.Module, a: int, b: int) -> torch.Tensor:
    """(C ×₃ p)ᵀ for the p of this block."""
    p = delta.p[:, a * delta.columns + b]
    return sum(p[k] * shared.c[:, :, k] for k in range(R)).T


METHODS = {
    "fact": (FactConfig, fact_core, 2 * D * R + LAYERS * (4 + 2 * TIMES) * R**2),
    "aurora": (AuroraConfig, aurora_core, 2 * D * R + R**3 + LAYERS * (4 + 2 * TIMES) * R),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_block_is_v_core_u(name):
    config, core, count = METHODS[name]
    model = stir(get_peft_model(wide_backbone(), config(r=R, scale=0.5))).eval()
    assert model.get_nb_trainable_parameters()[0] == count
    plain, tuned = wide_backbone(), model.base_model.model.roberta.encoder.layer
    shared = tuned[0].attention.self.query.adapters["default"].owned
    for layer, adapted in zip(plain.roberta.encoder.layer, tuned, strict=True):
        for place in NAMES.values():
            weight, delta = layer.get_submodule(place).weight, adapted.get_submodule(place).adapters["default"]
            for a in range(weight.shape[0] // D):
                for b in range(weight.shape[1] // D):
                    block = 0.5 * shared.v @ core(delta, shared, a, b) @ shared.u
                    weight.data[a * D : (a + 1) * D, b * D : (b + 1) * D] += block.detach()
    torch.testing.assert_close(logits(model), logits(plain), atol=1e-5, rtol=0)
    assert not torch.allclose(logits(model), logits(wide_backbone()), atol=1e-3)
    merged = model.merge_and_unload()
    torch.testing.assert_close(logits(merged), logits(plain), atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", [FactConfig, AuroraConfig])
def test_dropout_is_between_core_and_v(config):
    model = stir(get_peft_model(backbone(), config(r=R, dropout=0.4, target_modules=["query", "value"])))
    layer = model.base_model.model.roberta.encoder.layer[1].attention.self.query.train()
    delta, x = layer.adapters["default"], torch.randn(5, 24)
    torch.manual_seed(3)
    answer = layer(x)
    torch.manual_seed(3)
    narrow = nn.functional.dropout(x @ delta.shared.u.T @ delta.core().T, 0.4)
    torch.testing.assert_close(answer, layer.base_layer(x) + narrow @ delta.shared.v.T)


@pytest.mark.parametrize("config", [FactConfig, AuroraConfig])
def test_every_shared_and_own_parameter_learns(config):
    model = stir(get_peft_model(wide_backbone(), config(r=R, dropout=0.0)))
    model(tokens(), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters() if p.requires_grad)


MISFITS = {
    "intermediate.dense, of 40×24, is not made of blocks of 24×24": lambda: get_peft_model(backbone(), FactConfig(r=R)),
    "r=0 is not possible: at least 1": lambda: AuroraConfig(r=0),
    "dropout=1 is not possible": lambda: FactConfig(dropout=1),
}


@pytest.mark.parametrize(("message", "make"), MISFITS.items(), ids=MISFITS)
def test_what_does_not_fit_is_refused(message, make):
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize(
    "config",
    [FactConfig(r=2, dropout=0.0), AuroraConfig(r=2, dropout=0.0), CompacterConfig(n=2, reduction=2)],
    ids=lambda config: type(config).__name__,
)
@pytest.mark.parametrize("types", [(torch.float32, torch.float64), (torch.bfloat16, torch.float32)])
def test_layers_of_several_precisions(config, types):
    """All parameters learn, also those that the layers share, and without PEFT's cast of small types to fp32."""

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = (nn.Linear(8, 8, dtype=kind) for kind in types)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(x.to(types[0])).to(types[1]))

    config = copy.deepcopy(config)
    config.target_modules = ["first", "last"]
    model = stir(get_peft_model(Mixed(), config, autocast_adapter_dtype=False))
    model(torch.randn(2, 8)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
