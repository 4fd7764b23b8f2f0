"""The methods of the literature that PEFT lacks against dense formulas, AdaLoRA's schedule, and choosing layers."""

import copy

import numpy as np
import pytest
import timm
import torch
from peft import AdaLoraConfig, IA3Config, LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import RobertaConfig, RobertaForSequenceClassification

from surm_bench.adapters import (
    AdaptFormerConfig,
    CompacterConfig,
    HadamardConfig,
    KAdaptationConfig,
    LoraFixConfig,
    LoraPevitConfig,
    LoraXsConfig,
    LortaConfig,
    MeloraConfig,
    ResidualAdapterConfig,
)
from surm_bench.adapters.adaptformer import ScaledBottleneck
from surm_bench.adapters.build import attach, peft_config
from surm_bench.adapters.roles import find_roles, from_layer, layer_of
from surm_bench.adapters.schedule import schedule
from surm_bench.config import AdapterConfig, Config, OptimizerConfig, TaskConfig, TrainerConfig
from surm_bench.errors import UserError
from surm_bench.models import split_qkv
from surm_bench.tasks import Classification, TaskData
from surm_bench.training import Hooks, fit

D, HEADS, LAYERS = 24, 4, 3
CONFIG = RobertaConfig(
    vocab_size=60,
    hidden_size=D,
    num_hidden_layers=LAYERS,
    num_attention_heads=HEADS,
    intermediate_size=40,
    max_position_embeddings=40,
    initializer_range=0.2,
    num_labels=3,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
QUERY = "roberta.encoder.layer.{}.attention.self.query"


def backbone() -> nn.Module:
    torch.manual_seed(0)
    return RobertaForSequenceClassification(CONFIG).eval()


def roles() -> dict[str, list[str]]:
    return find_roles(name for name, _ in backbone().named_modules())


def tokens(n: int = 4) -> torch.Tensor:
    return torch.randint(3, 60, (n, 11), generator=torch.Generator().manual_seed(1))


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(tokens()).logits


def stir(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def one_linear(config, out_features: int = 12, in_features: int = 8):
    """A tuned Linear by itself, away from its start: the layer, and a copy of the frozen weight."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(in_features, out_features))
    weight = model[0].weight.detach().clone()
    return stir(get_peft_model(model, config)).base_model.model[0], weight


def shift_of(layer: nn.Module, in_features: int = 8) -> torch.Tensor:
    """What the layer does beyond its base layer, as a dense matrix, column by column."""
    with torch.no_grad():
        return (layer(torch.eye(in_features)) - layer.base_layer(torch.eye(in_features))).T


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


MISFITS = {
    "n=5 does not divide both sizes of a layer of 24×24": lambda: get_peft_model(backbone(), MeloraConfig(n=5)),
    "n=0 is not possible": lambda: MeloraConfig(n=0),
    "r=25 is not possible: at most 24": lambda: get_peft_model(backbone(), LoraXsConfig(r=25)),
    "r=0 is not possible": lambda: LoraXsConfig(r=0),
    "heads=5 does not divide the inputs of a layer of 24×24": lambda: get_peft_model(backbone(), LortaConfig(heads=5)),
    "number of attention heads of this model is unknown: set heads": lambda: get_peft_model(
        nn.Sequential(nn.Linear(4, 4)), LortaConfig(target_modules=["0"])
    ),
    "1, of 4×12, has another size than the first layer": lambda: get_peft_model(
        nn.Sequential(nn.Linear(8, 12), nn.Linear(12, 4)), LortaConfig(target_modules=["0", "1"], heads=2)
    ),
    "r=0 is not possible: at least 1": lambda: LoraFixConfig(r=0),
    "heads=5 does not divide a layer's 24 outputs": lambda: get_peft_model(backbone(), LoraPevitConfig(heads=5)),
    "n=7 does not divide both sizes of a layer of 24×24": lambda: get_peft_model(backbone(), KAdaptationConfig(n=7)),
    "n=-1 is not possible": lambda: KAdaptationConfig(n=-1),
    "n=4 does not divide both a layer's width, 24, and its bottleneck, 24/16": lambda: get_peft_model(
        backbone(), CompacterConfig()
    ),
    "reduction=0 is not possible": lambda: CompacterConfig(reduction=0),
    "bottleneck=0 is not possible: at least 1": lambda: AdaptFormerConfig(bottleneck=0),
    "dropout=1 is not possible": lambda: AdaptFormerConfig(dropout=1),
    "is a Linear, not the module of an MLP": lambda: get_peft_model(
        backbone(), AdaptFormerConfig(target_modules=["query"])
    ),
    "is a Embedding, not a Linear or LayerNorm": lambda: get_peft_model(
        backbone(), HadamardConfig(target_modules=["word_embeddings"])
    ),
}


@pytest.mark.parametrize(("message", "make"), MISFITS.items(), ids=MISFITS)
def test_what_does_not_fit_is_refused(message, make):
    with pytest.raises(UserError, match=message):
        make()


def adalora(**fields) -> PeftModel:
    planned = {"total_step": 100, "tinit": 10, "tfinal": 50, "deltaT": 1, "init_r": 4, "target_r": 2}
    config = {"_target_": "peft.AdaLoraConfig", **planned, "orth_reg_weight": 0.3} | fields
    return attach(backbone(), roles(), AdapterConfig("adalora", "AdaLoRA", 1e-2, roles=["q", "v"], peft=config))


def ranks(model: PeftModel) -> list[int]:
    """How many singular values are left in each layer."""
    tuned = [m for m in model.modules() if isinstance(m, model.base_model.tuner_layer_cls)]
    return [int((layer.lora_E["default"] != 0).sum()) for layer in tuned]


class Examples(torch.utils.data.Dataset):
    def __init__(self, n: int):
        self.tokens, self.labels = tokens(n), torch.arange(n) % 3

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.tokens[index], "labels": self.labels[index]}


def train(model: nn.Module, steps: int, hooks: Hooks | None) -> list[dict]:
    data = Examples(8)
    settings = Config(
        task=TaskConfig(name="t"),
        adapter=AdapterConfig(label="a"),
        optimizer=OptimizerConfig(lr=1e-2, warmup_ratio=0.0),
        trainer=TrainerConfig(epochs=steps, max_steps=steps, batch_size=8, progress=False),
    )
    task = TaskData(data, {"reported": data}, torch.utils.data.default_collate, None, {})
    return fit(model, task, Classification("accuracy", "accuracy"), settings, hooks=hooks).evaluations


@pytest.mark.parametrize("steps", [2, 3, 6, 40])
def test_adalora_shrinks_from_the_initial_to_the_target_budget(steps):
    """2·3 layers of rank 4: 24 ranks at the start, none cut in the first tenth, 12 left in the second half."""
    model = adalora()
    hooks, left = schedule(model), []
    allocate = hooks.after_step
    hooks.after_step = lambda step: (allocate(step), left.append(sum(ranks(model))))
    train(model, steps, hooks)
    config = model.peft_config["default"]
    assert config.total_step == steps
    assert left[-1] == 2 * 6 and left == sorted(left, reverse=True)
    assert left[: config.tinit] == [4 * 6] * config.tinit
    assert left[steps - config.tfinal - 1 :] == [2 * 6] * (config.tfinal + 1)
    if steps == 40:
        assert (config.tinit, config.tfinal) == (4, 20)
        budgets = [int((24 - 12) * (1 - (step - 4) / (40 - 20 - 4)) ** 3 + 12) for step in range(5, 20)]
        assert left[4:19] == budgets  # the cubic schedule of Zhang et al., 2023, eq. 12
    assert sum(sum(kept) for kept in config.rank_pattern.values()) == 2 * 6


def test_adalora_after_its_cuts_is_saved_and_loaded_whole(tmp_path):
    model = adalora()
    train(model, 6, schedule(model))
    model.eval().save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(backbone(), tmp_path).eval()
    torch.testing.assert_close(logits(loaded), logits(model), atol=1e-6, rtol=0)


def test_adalora_penalty_is_pefts_own():
    """Oracle: what PEFT adds to a loss that the model computes, where its tuner is called and not the wrapper."""
    model = stir(adalora())
    labels = torch.tensor([0, 1, 2, 0])
    output = model.base_model(tokens(), labels=labels)
    added = output.loss - nn.functional.cross_entropy(output.logits, labels)
    assert added > 0.1
    torch.testing.assert_close(schedule(model).penalty(), added)


def test_the_penalty_acts_on_the_gradients_and_not_on_the_reported_loss():
    class Pull(Hooks):
        def __init__(self, parameter):
            self.parameter = parameter

        def penalty(self):
            return 100 * self.parameter.square().sum()

    losses, norms = [], []
    for pulled in (False, True):
        model = backbone()
        weight = model.classifier.dense.weight
        epochs = train(model, 5, Pull(weight) if pulled else None)
        losses.append(epochs[0]["train_loss"])
        norms.append(weight.norm().item())
    assert losses[0] == losses[1]
    assert norms[1] < norms[0]


def test_hooks_are_told_the_steps_while_gradients_are_there():
    class Watch(Hooks):
        def __init__(self, model):
            self.model, self.printed = model, []

        def begin(self, steps):
            self.printed.append(("steps", steps))

        def after_step(self, step):
            assert self.model.classifier.dense.weight.grad.abs().sum() > 0
            self.printed.append(step)

    model = backbone()
    watch = Watch(model)
    train(model, 3, watch)
    assert watch.printed == [("steps", 3), 1, 2, 3]


def test_adalora_refuses_what_cannot_shrink():
    with pytest.raises(UserError, match="target_r=4 is not possible: from 1 to below init_r=4"):
        schedule(adalora(target_r=4))
    model = adalora()
    with pytest.raises(UserError, match="train at least two"):
        schedule(model).begin(1)


def test_no_other_method_has_a_schedule():
    assert schedule(get_peft_model(backbone(), MeloraConfig())) is None


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


@pytest.mark.parametrize("chosen", [["fc2"], []])
def test_first_layer_drops_the_adapters_below(chosen):
    """By roles, and where the placement decides; both leave one of three layers."""
    residual = {"_target_": "surm_bench.adapters.ResidualAdapterConfig", "bottleneck": 2, "placement": "pfeiffer"}
    model = attach(backbone(), roles(), config(roles=chosen, first_layer=2, peft=residual))
    adapted = [name for name, module in model.named_modules() if hasattr(module, "residual_adapter")]
    assert adapted == ["base_model.model.roberta.encoder.layer.2.output.dense"]


def test_first_layer_holds_for_methods_of_peft_and_for_subsets():
    lora = config(roles=["q", "v"], first_layer=1, peft={"_target_": "peft.LoraConfig", "r": 2})
    model = attach(backbone(), roles(), lora)
    layers = {layer_of(name) for name, parameter in model.named_parameters() if "lora_A" in name}
    assert layers == {1, 2}
    norms = config(roles=["norm"], first_layer=2, peft={"_target_": "surm_bench.adapters.SubsetConfig"})
    model = attach(backbone(), roles(), norms)
    trained = {n for n, p in model.named_parameters() if p.requires_grad and "LayerNorm" in n}
    assert {layer_of(name) for name in trained} == {2, None}  # the embeddings' norm is in no layer


@pytest.mark.parametrize("first", [3, -1])
def test_first_layer_beyond_the_model_is_refused(first):
    with pytest.raises(UserError, match=f"first_layer={first} is not possible: this model has layers 0 to 2"):
        from_layer(roles(), first)


def test_first_layer_without_roles_is_refused():
    everything = config(first_layer=1, peft={"_target_": "surm_bench.adapters.SubsetConfig"})
    with pytest.raises(UserError, match="has no roles: first_layer=1 has no effect without them"):
        peft_config(everything, roles())


def test_targets_named_in_full_are_left_alone():
    residual = {"_target_": "surm_bench.adapters.ResidualAdapterConfig", "bottleneck": 2, "target_modules": ["query"]}
    assert peft_config(config(peft=residual), roles()).target_modules == ["query"]


def test_role_fields_fill_other_lists_of_modules():
    made = peft_config(
        config(
            roles=["k", "v", "fc2"],
            role_fields={"feedforward_modules": ["fc2"]},
            first_layer=1,
            peft={"_target_": "peft.IA3Config"},
        ),
        roles(),
    )
    assert isinstance(made, IA3Config)
    assert made.feedforward_modules == {f"roberta.encoder.layer.{i}.output.dense" for i in (1, 2)}
    assert len(made.target_modules) == 6
    with pytest.raises(UserError, match="unknown role 'fc3'"):
        peft_config(config(roles=["k"], role_fields={"feedforward_modules": ["fc3"]}, peft=made.to_dict()), roles())
    nowhere = config(roles=["q"], role_fields={"feedforward": ["q"]}, peft={"_target_": "peft.IA3Config"})
    with pytest.raises(UserError, match="unexpected keyword argument 'feedforward'"):
        peft_config(nowhere, roles())


def test_placement_of_residuals_is_unchanged_by_layer_zero():
    residual = {"_target_": "surm_bench.adapters.ResidualAdapterConfig", "bottleneck": 2}
    made = peft_config(config(peft=residual), roles())
    assert isinstance(made, ResidualAdapterConfig)
    assert len(made.target_modules) == 2 * LAYERS


def test_adalora_config_of_peft_is_what_the_schedule_reads():
    """The stretched numbers are PEFT's own fields, so that a saved adapter has its schedule."""
    model = adalora()
    schedule(model).begin(1000)
    saved = model.peft_config["default"]
    assert isinstance(saved, AdaLoraConfig)
    assert (saved.total_step, saved.tinit, saved.tfinal) == (1000, 100, 500)
