"""What PEFT users expect of a method, for every method of ours, on a small RoBERTa with random weights."""

import copy
import warnings

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import RobertaConfig, RobertaForSequenceClassification

from surm_bench.adapters import (
    AdaptFormerConfig,
    AuroraConfig,
    CompacterConfig,
    DynamicDoraConfig,
    FactConfig,
    HadamardConfig,
    KAdaptationConfig,
    Lora2Config,
    LoraFixConfig,
    LoraPevitConfig,
    LoraXsConfig,
    LortaConfig,
    MeloraConfig,
    RepAdapterConfig,
    ResidualAdapterConfig,
    SsfConfig,
    SubsetConfig,
    SurmConfig,
)
from surm_bench.adapters.surm import SurmLinear
from surm_bench.errors import UserError
from surm_bench.structured import STRUCTURES

HEAD = ["classifier"]
SIZES = {
    "vocab_size": 60,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 40,
}
CONFIG = RobertaConfig(
    **SIZES,
    initializer_range=0.2,  # so that layers matter: at the usual 0.02 a tiny network hardly answers its input
    num_labels=3,
)
DELTAS = {name: {"structure": name} for name in STRUCTURES} | {
    "toeplitz_product": {"structure": "product", "options": {"parts": [{"structure": "toeplitz"}] * 2}},
    "circulant_low_rank": {
        "structure": "sum",
        "options": {"parts": [{"structure": "circulant"}, {"structure": "low_rank", "r": 2}]},
    },
}
RESIDUALS = {f"adapter_{name}": {"structure": name} for name in STRUCTURES} | {
    "houlsby": {"bottleneck": 6},
    "pfeiffer": {"bottleneck": 6, "placement": "pfeiffer", "activation": "relu"},
}

LITERATURE = {
    "hadamard": (HadamardConfig, {}),
    "lora_xs": (LoraXsConfig, {"r": 3, "alpha": 6.0}),
    "lorta": (LortaConfig, {"r": 3}),
    "melora": (MeloraConfig, {"n": 4, "r": 2}),
    "lora_fix": (LoraFixConfig, {"r": 3}),
    "kadaptation": (KAdaptationConfig, {"n": 4, "alpha": 1.0}),
    "dora_dynamic": (DynamicDoraConfig, {"r": 2, "dropout": 0.0}),
    "lora2": (Lora2Config, {"r": 4, "target_r": 2, "k": 3, "alpha": 400.0}),
    "aurora": (AuroraConfig, {"r": 3, "dropout": 0.0, "target_modules": ["query", "value"]}),
    "fact": (FactConfig, {"r": 3, "dropout": 0.0, "target_modules": ["query", "value"]}),
    "ssf": (SsfConfig, {}),
    "repadapter": (RepAdapterConfig, {"bottleneck": 4, "dropout": 0.0}),
}
BESIDE = {  # what adds to activations, beside the residual adapters
    "compacter": (CompacterConfig, {"n": 2, "reduction": 2}),
    "adaptformer": (AdaptFormerConfig, {"bottleneck": 6, "scale": 1.0, "dropout": 0.0}),
    "lora_pevit": (LoraPevitConfig, {"r": 3, "alpha": 6.0}),
}
METHODS = (SurmConfig, ResidualAdapterConfig, *(config for config, _ in (LITERATURE | BESIDE).values()))
PREFIXES = tuple(f"{config.method}_" for config in METHODS)


def method(name: str, **fields):
    if name in DELTAS:
        return SurmConfig(**DELTAS[name], **fields)
    if name in RESIDUALS:
        return ResidualAdapterConfig(**RESIDUALS[name], **fields)
    config, own = (LITERATURE | BESIDE)[name]
    return config(**own, **fields)


every_method = pytest.mark.parametrize("name", [*DELTAS, *RESIDUALS, *LITERATURE, *BESIDE])
every_linear_method = pytest.mark.parametrize("name", [*DELTAS, *LITERATURE])
every_delta = pytest.mark.parametrize("name", DELTAS)


def backbone(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return RobertaForSequenceClassification(CONFIG).to(dtype).eval()


def tokens() -> torch.Tensor:
    return torch.randint(3, 60, (4, 11), generator=torch.Generator().manual_seed(1))


def stir(model: nn.Module, seed: int = 0) -> nn.Module:
    """Move every trainable parameter away from its start."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(tokens()).logits


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-5) -> bool:
    return torch.allclose(a, b, atol=tolerance, rtol=0)


@every_method
def test_starts_as_the_backbone_and_trains_only_itself(name):
    base = logits(backbone())
    model = get_peft_model(backbone(), method(name, modules_to_save=HEAD))
    tolerance = 1e-3 if name == "lora_xs" else 1e-6  # LoRA-XS starts next to zero
    if name != "ssf":  # its factors are drawn around one
        assert torch.equal(logits(model), base) or close(logits(model), base, tolerance)
    trained = [n for n, p in model.named_parameters() if p.requires_grad]
    assert trained and all(any(prefix in n for prefix in (*PREFIXES, "modules_to_save")) for n in trained)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()
    for _ in range(3):
        optimizer.zero_grad()
        model(tokens(), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
        optimizer.step()
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed and changed <= set(trained)
    assert any(prefix in n for n in changed for prefix in PREFIXES)


@every_delta
def test_delta_is_the_dense_matrix_of_the_structure(name):
    """Oracle: a plain RoBERTa whose q and v weights carry α·ΔW."""
    model = stir(get_peft_model(backbone(), method(name, alpha=0.5)))
    plain = backbone()
    for i, layer in enumerate(plain.roberta.encoder.layer):
        adapted = model.base_model.model.roberta.encoder.layer[i].attention.self
        for linear, tuned in ((layer.attention.self.query, adapted.query), (layer.attention.self.value, adapted.value)):
            linear.weight.data += 0.5 * tuned.surm_delta["default"].dense().detach()
    assert close(logits(model), logits(plain))
    assert not close(logits(model), logits(backbone()), 1e-3)


def test_low_rank_is_lora():
    """Oracle: PEFT's own LoRA with the same factors."""
    ours = stir(get_peft_model(backbone(), SurmConfig(structure="low_rank", r=3)))
    lora = get_peft_model(backbone(), LoraConfig(r=3, lora_alpha=3, target_modules=["query", "value"]))
    for i in range(2):
        for role in ("query", "value"):
            a = getattr(ours.base_model.model.roberta.encoder.layer[i].attention.self, role).surm_delta["default"]
            b = getattr(lora.base_model.model.roberta.encoder.layer[i].attention.self, role)
            b.lora_A["default"].weight.data, b.lora_B["default"].weight.data = a.a.data, a.b.data
    assert close(logits(ours), logits(lora))
    assert ours.get_nb_trainable_parameters() == lora.get_nb_trainable_parameters()


@every_method
def test_save_and_load(name, tmp_path):
    model = stir(get_peft_model(backbone(), method(name, modules_to_save=HEAD)))
    model.save_pretrained(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").exists()
    loaded = PeftModel.from_pretrained(backbone(), tmp_path)
    saved = model.state_dict()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in loaded.state_dict().items())
    assert close(logits(loaded.eval()), logits(model), 1e-6)  # to the bit only where memory is aligned alike
    assert not any(p.requires_grad for p in loaded.parameters())


@every_method
def test_load_under_another_name(name, tmp_path):
    """One saved adapter alone under a name of its own, beside another of its kind, and saved again from there."""
    model = stir(get_peft_model(backbone(), method(name, modules_to_save=HEAD)))
    wanted = logits(model)
    model.save_pretrained(tmp_path)
    alone = PeftModel.from_pretrained(backbone(), tmp_path, adapter_name="other").eval()
    assert close(logits(alone), wanted, 1e-6)
    both = stir(get_peft_model(backbone(), method(name, modules_to_save=HEAD)), seed=5).eval()
    first = logits(both)
    assert not close(first, wanted, 1e-3)
    both.load_adapter(tmp_path, adapter_name="second")
    assert torch.equal(logits(both), first)
    both.set_adapter("second")
    assert close(logits(both), wanted, 1e-6)
    both.save_pretrained(tmp_path, selected_adapters=["second"])
    again = PeftModel.from_pretrained(backbone(), tmp_path / "second").eval()
    assert close(logits(again), wanted, 1e-6)


@every_method
def test_load_with_low_cpu_memory(name, tmp_path):
    model = stir(get_peft_model(backbone(), method(name, modules_to_save=HEAD)))
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(backbone(), tmp_path, low_cpu_mem_usage=True)
    assert close(logits(loaded.eval()), logits(model), 1e-6)


def small_delta(base_dtype: torch.dtype) -> tuple[torch.Tensor, SurmLinear]:
    """Inputs, and a layer with a delta of 1e-5 beside weights of 0.04, on which bfloat16 has steps of 2e-4."""
    torch.manual_seed(0)
    linear = nn.Linear(256, 256, bias=False)
    linear.weight.data.uniform_(0.03, 0.05).mul_(torch.randn(256, 256).sign())
    config = SurmConfig(structure="toeplitz", target_modules=["0"])
    layer = get_peft_model(nn.Sequential(linear.to(base_dtype)), config).base_model.model[0]
    layer.surm_delta["default"].t.data.normal_(std=1e-5)
    return torch.randn(4096, 256, dtype=base_dtype), layer


@torch.no_grad()
def test_a_small_delta_survives_autocast():
    """It is added to W0 first, whose own digits dither the rounding: against fp64 the answer is as good as the frozen
    layer's alone, and the slope of what the delta changed on what it should have changed is 1. Added behind the
    product, it would be lost on the grid of y."""
    x, layer = small_delta(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer._one_product(["default"], x)
        frozen, answer = layer.base_layer(x).double(), layer(x).double()
    exact = x.double() @ layer.base_layer.weight.double().T
    wanted = x.double() @ layer.surm_delta["default"].dense().double().T
    assert (answer - exact - wanted).norm() <= 1.05 * (frozen - exact).norm()
    assert ((answer - frozen) * wanted).sum() / wanted.square().sum() == pytest.approx(1, abs=0.25)


@torch.no_grad()
def test_a_small_delta_beside_half_precision_weights():
    """W0 on bfloat16's grid would swallow the delta whole: it has a product of its own, as good as its rounding."""
    x, layer = small_delta(torch.bfloat16)
    delta = layer.surm_delta["default"]
    assert not layer._one_product(["default"], x)
    exact = x.double() @ delta.dense().double().T
    assert (delta(x).double() - exact).norm() <= 0.01 * exact.norm()


def test_hooks_of_the_base_layer_fire():
    fired = []
    tuned = get_peft_model(nn.Sequential(nn.Linear(4, 4)), SurmConfig(structure="toeplitz", target_modules=["0"]))
    tuned.base_model.model[0].base_layer.register_forward_hook(lambda *_: fired.append(True))
    tuned(torch.randn(2, 4))
    assert fired


@every_linear_method
def test_merge_and_unmerge_to_the_bit(name):
    model = stir(get_peft_model(backbone(), method(name, modules_to_save=HEAD)))
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    adapted = logits(model)
    model.merge_adapter()
    assert close(logits(model), adapted)
    model.unmerge_adapter()
    assert all(torch.equal(p, weights[n]) for n, p in model.named_parameters())
    merged = model.merge_and_unload()
    assert all(type(m).__module__.partition(".")[0] != "surm_bench" for m in merged.modules())
    assert type(merged.roberta.encoder.layer[0].attention.self.query) is nn.Linear
    assert close(logits(merged), adapted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_merging_two_adapters_one_after_the_other(dtype):
    model = get_peft_model(backbone(dtype), SurmConfig(structure="circulant"))
    model.add_adapter("second", SurmConfig(structure="kronecker"))
    model.base_model.set_adapter(["default", "second"])
    stir(model)
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    both = logits(model)
    model.merge_adapter(["default"])
    model.merge_adapter(["second"])
    assert close(logits(model), both, 3e-2 if dtype == torch.bfloat16 else 1e-5)
    model.unmerge_adapter()
    assert all(torch.equal(p, weights[n]) for n, p in model.named_parameters())


def test_safe_merge_refuses_what_is_not_finite():
    model = get_peft_model(backbone(), SurmConfig(structure="toeplitz"))
    layer = model.base_model.model.roberta.encoder.layer[0].attention.self.query
    layer.surm_delta["default"].t.data[0] = torch.inf
    before = layer.base_layer.weight.clone()
    with pytest.raises(ValueError, match="^NaNs detected in the merged weights. The adapter default"):  # as PEFT says
        model.merge_adapter(safe_merge=True)
    assert torch.equal(layer.base_layer.weight, before)


@pytest.mark.parametrize("name", ["adapter_circulant", "houlsby", *BESIDE])
def test_what_answers_activations_cannot_be_merged_but_unloaded(name):
    model = stir(get_peft_model(backbone(), method(name)))
    with pytest.raises(NotImplementedError, match="cannot be merged"):
        model.merge_and_unload()
    assert torch.equal(logits(model.unload()), logits(backbone()))


@pytest.mark.parametrize("pair", [("circulant", "kronecker"), ("low_rank", "low_rank")])
def test_active_deltas_add_up(pair):
    """Oracle: the sum of both dense deltas on a plain model."""
    model = get_peft_model(backbone(), SurmConfig(structure=pair[0]))
    model.add_adapter("second", SurmConfig(structure=pair[1]))
    model.base_model.set_adapter(["default", "second"])
    stir(model)
    plain = backbone()
    for i, layer in enumerate(plain.roberta.encoder.layer):
        tuned = model.base_model.model.roberta.encoder.layer[i].attention.self
        for linear, wrapped in ((layer.attention.self.query, tuned.query), (layer.attention.self.value, tuned.value)):
            linear.weight.data += sum(delta.dense().detach() for delta in wrapped.surm_delta.values())
    assert close(logits(model), logits(plain))


@pytest.mark.parametrize(("structure", "drawn"), [("circulant", "a"), ("symmetric_toeplitz", "a"), ("kronecker", "a"),
                                                  ("ldr", "h")])  # fmt: skip
def test_structured_residual_adapters_start_as_surms_released_code(structure, drawn):
    """N(0, 0.02²) for the factor that is not zero: of 1,536 numbers the deviation is known to 2 %."""
    torch.manual_seed(0)
    config = ResidualAdapterConfig(structure=structure, target_modules=["0"])
    model = get_peft_model(nn.Sequential(nn.Linear(1536, 1536)), config)
    matrix = model.base_model.model[0].residual_adapter["default"].matrix
    values = getattr(matrix, drawn).detach()
    assert values.std().item() == pytest.approx(0.02, rel=0.08)
    assert values.abs().max() > 0.05  # normal: a uniform start of that deviation ends at 0.035


def test_active_residual_adapters_add_up():
    linear = get_peft_model(
        nn.Sequential(nn.Linear(6, 6)), ResidualAdapterConfig(structure="circulant", target_modules=["0"])
    )
    linear.add_adapter("second", ResidualAdapterConfig(bottleneck=2, target_modules=["0"]))
    linear.base_model.set_adapter(["default", "second"])
    stir(linear)
    x = torch.randn(5, 6)
    layer = linear.base_model.model[0]
    h = layer.base_layer(x)
    circulant, bottleneck = layer.residual_adapter["default"], layer.residual_adapter["second"]
    first = nn.functional.gelu(h @ circulant.matrix.dense().T) + circulant.bias
    second = bottleneck.up(nn.functional.gelu(bottleneck.down(h)))
    assert close(linear(x), h + first + second, 1e-6)


@every_method
def test_several_adapters(name):
    model = stir(get_peft_model(backbone(), method(name, modules_to_save=HEAD)))
    first = logits(model)
    model.add_adapter("second", method(name, modules_to_save=HEAD))
    assert torch.equal(logits(model), first)
    model.set_adapter("second")
    stir(model, seed=7)
    second = logits(model)
    assert not close(second, first, 1e-3)
    model.set_adapter("default")
    assert torch.equal(logits(model), first)
    with model.disable_adapter():
        assert torch.equal(logits(model), logits(backbone()))
    assert torch.equal(logits(model), first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.delete_adapter("default")
    model.set_adapter("second")
    assert torch.equal(logits(model), second)
    assert not any(".default" in n for n, _ in model.named_parameters())


@every_method
def test_deepcopy_is_independent(name):
    model = stir(get_peft_model(backbone(), method(name, modules_to_save=HEAD)))
    twin, before = copy.deepcopy(model), logits(model)
    assert torch.equal(logits(twin), before)
    stir(twin, seed=3)
    assert torch.equal(logits(model), before)
    assert not close(logits(twin), before, 1e-3)


@every_method
def test_gradient_checkpointing_gives_the_same_gradients(name):
    def gradients(checkpointing: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)  # the adapter's random start
        model = stir(get_peft_model(backbone(), method(name, modules_to_save=HEAD)))
        for module in model.modules():  # the backbone's dropout is not the matter here
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        if checkpointing:
            model.base_model.model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
        model(tokens(), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
        return [p.grad for p in model.parameters() if p.requires_grad]

    for plain, checkpointed in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(checkpointed, plain)


@every_method
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_mixed_dtypes(name, dtype):
    """The adapter is fp32 or wider, the answer has the backbone's dtype, and fp64 agrees with fp32."""
    torch.manual_seed(5)
    model = stir(get_peft_model(backbone(dtype), method(name)))
    adapter = [p for p in model.parameters() if p.requires_grad]
    assert {p.dtype for p in adapter} == {torch.promote_types(dtype, torch.float32)}
    answer = logits(model)
    assert answer.dtype == dtype
    torch.manual_seed(5)
    single = stir(get_peft_model(backbone(), method(name)))
    assert close(answer.float(), logits(single), 0.05 if dtype == torch.bfloat16 else 1e-5)
    all_half = logits(model.to(dtype))
    assert close(all_half.float(), logits(single), 0.05)


@every_method
def test_autocast(name):
    torch.manual_seed(5)
    model = stir(get_peft_model(backbone(), method(name, modules_to_save=HEAD)))
    exact = logits(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(tokens(), labels=torch.tensor([0, 1, 2, 0])).loss
        assert close(logits(model).float(), exact, 0.05)
    loss.backward()
    assert all(p.grad is not None and p.grad.dtype == p.dtype for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", ["circulant", "symmetric_toeplitz", "toeplitz", "kronecker", "ldr", "low_rank"])
def test_dropout_acts_on_the_deltas_input_only(name):
    """In evaluation it is gone; in training the frozen product sees the input whole: with ΔW = 0 nothing changes."""
    linear = get_peft_model(
        nn.Sequential(nn.Linear(8, 12)), SurmConfig(structure=name, dropout=0.5, target_modules=["0"])
    )
    x = torch.randn(5, 8)
    linear.train()
    base = linear.base_model.model[0].base_layer(x)
    assert torch.equal(linear(x), base)
    stir(linear)
    torch.manual_seed(0)
    dropped = linear(x)
    torch.manual_seed(0)
    delta = linear.base_model.model[0].surm_delta["default"].dense()
    assert close(dropped, base + nn.functional.dropout(x, 0.5) @ delta.T)
    linear.eval()
    assert close(linear(x), base + x @ delta.T)


@pytest.mark.parametrize(
    "name", [*DELTAS, *RESIDUALS, *sorted(LITERATURE.keys() - {"lorta", "aurora", "fact"}), "compacter"]
)  # lorta, aurora, fact: one tensor, one size; adaptformer: no layer, an MLP
def test_rectangular_layers(name):
    model = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 4))
    tuned = stir(get_peft_model(copy.deepcopy(model), method(name, target_modules=["0", "2"])))
    x = torch.randn(3, 8)
    assert tuned(x).shape == (3, 4)
    assert not close(tuned(x), model(x), 1e-4)


def test_layers_to_transform():
    model = get_peft_model(
        backbone(), SurmConfig(structure="circulant", target_modules=["query"], layers_to_transform=1)
    )
    adapted = [n for n, m in model.named_modules() if hasattr(m, "surm_delta")]
    assert len(adapted) == 1 and ".layer.1." in adapted[0]


SUBSETS = {
    "all": (SubsetConfig(modules_to_save=HEAD), lambda n: not n.startswith("classifier")),
    "bias": (SubsetConfig(parameters="bias", modules_to_save=HEAD),
             lambda n: n.endswith(".bias") and not n.startswith("classifier")),
    "norms": (SubsetConfig(target_modules=["LayerNorm"], modules_to_save=HEAD), lambda n: "LayerNorm" in n),
    "none": (SubsetConfig(parameters="none", modules_to_save=HEAD), lambda n: False),
}  # fmt: skip


@pytest.mark.parametrize("name", SUBSETS)
def test_subset_trains_saves_and_loads_what_it_says(name, tmp_path):
    config, wanted = SUBSETS[name]
    expected = {n for n, _ in backbone().named_parameters() if wanted(n)}
    model = get_peft_model(backbone(), copy.deepcopy(config))
    trained = {n.removeprefix("base_model.model.") for n, p in model.named_parameters() if p.requires_grad}
    assert {n for n in trained if "modules_to_save" not in n} == expected
    stir(model).save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(backbone(), tmp_path, adapter_name="other").eval()
    assert close(logits(loaded), logits(model), 1e-6)
    assert close(logits(model.merge_and_unload()), logits(loaded), 1e-6)


def test_subset_refuses_what_it_cannot_do():
    model = get_peft_model(backbone(), SubsetConfig(modules_to_save=HEAD))
    with pytest.raises(UserError, match="cannot be disabled"), model.disable_adapter():
        pass
    with pytest.raises(UserError, match="second adapter"):
        model.add_adapter("second", SubsetConfig(modules_to_save=HEAD))
    with pytest.raises(UserError, match="'weights': choose from all, bias, none"):
        SubsetConfig(parameters="weights")
    with pytest.raises(UserError, match="LayerNrom"):
        get_peft_model(backbone(), SubsetConfig(target_modules=["LayerNrom"]))


def adapt(**fields):
    return get_peft_model(backbone(), SurmConfig(**fields))


ERRORS = {
    "unknown structure 'circulent': choose from circulant, .*kronecker, ldr": lambda: SurmConfig(structure="circulent"),
    "structure 'circulant' takes no 'r'": lambda: SurmConfig(structure="circulant", r=4),
    "structure=None with bottleneck=None is not possible": lambda: ResidualAdapterConfig(),
    "structure=.circulant. with bottleneck=4 is not possible: .* exactly one": lambda: ResidualAdapterConfig(
        structure="circulant", bottleneck=4
    ),
    "bottleneck=0 is not possible: at least 1": lambda: ResidualAdapterConfig(bottleneck=0),
    "choose from houlsby, pfeiffer": lambda: ResidualAdapterConfig(bottleneck=4, placement="everywhere"),
    "choose from gelu, identity": lambda: ResidualAdapterConfig(bottleneck=4, activation="elu"),
    "'relu' has no gradient at zero": lambda: ResidualAdapterConfig(structure="circulant", activation="relu"),
    r"r=5 does not divide both 24 and 24: choose from \[1, 2, 3, 4, 6": lambda: adapt(structure="kronecker", r=5),
    r"'quary' matches no layer.*layer.N.attention.self.query \(×2\)": lambda: adapt(target_modules=["quary"]),
    "'valeu' matches no layer": lambda: adapt(target_modules=["query", "valeu"]),
    r"quary' matches no layer. Linear layers: ": lambda: adapt(target_modules=r".*\.quary"),
    r"ambiguous, it matches roberta.encoder.layer.N.attention.output.dense, roberta.encoder.layer.N.output.dense": (
        lambda: adapt(target_modules=["output.dense"])
    ),
    "is a Embedding, not a Linear": lambda: adapt(target_modules=["word_embeddings"]),
    "dropout=1.5 is not possible": lambda: SurmConfig(dropout=1.5),
    "alpha='2' is not possible": lambda: SurmConfig(alpha="2"),
    "no role map fits": lambda: get_peft_model(nn.Sequential(nn.Linear(4, 4)), SurmConfig()),
}


@pytest.mark.parametrize(("message", "make"), ERRORS.items(), ids=ERRORS)
def test_errors_say_what_is_possible(message, make):
    with pytest.raises(UserError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
