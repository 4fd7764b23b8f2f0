"""What PEFT users expect of a method, for every method of ours, on a small RoBERTa with random weights."""

import copy
import warnings

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from support.methods import (
    BESIDE,
    DELTAS,
    HEAD,
    LITERATURE,
    PREFIXES,
    RESIDUALS,
    attached,
    every_delta,
    every_linear_method,
    every_method,
    method,
)  # fmt: skip
from support.roberta import backbone, close, logits, stir, tokens
from torch import nn

from surm_bench.adapters import ResidualAdapterConfig, SurmConfig


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
    """A saved adapter loads alone, under another name, and with low memory; all load to the saved answers."""
    model = attached(name)
    wanted = logits(model)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").exists()
    loaded = PeftModel.from_pretrained(backbone(), tmp_path)
    saved = model.state_dict()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in loaded.state_dict().items())
    assert not any(p.requires_grad for p in loaded.parameters())
    other = PeftModel.from_pretrained(backbone(), tmp_path, adapter_name="other")
    economical = PeftModel.from_pretrained(backbone(), tmp_path, low_cpu_mem_usage=True)
    for again in (loaded, other, economical):
        assert close(logits(again.eval()), wanted, 1e-6)  # to the bit only where memory is aligned alike


@every_method
def test_load_beside_another_and_save_again(name, tmp_path):
    model = attached(name)
    wanted = logits(model)
    model.save_pretrained(tmp_path)
    both = stir(attached(name), seed=5).eval()
    first = logits(both)
    assert not close(first, wanted, 1e-3)
    both.load_adapter(tmp_path, adapter_name="second")
    assert torch.equal(logits(both), first)
    both.set_adapter("second")
    assert close(logits(both), wanted, 1e-6)
    both.save_pretrained(tmp_path, selected_adapters=["second"])
    again = PeftModel.from_pretrained(backbone(), tmp_path / "second").eval()
    assert close(logits(again), wanted, 1e-6)


def test_hooks_of_the_base_layer_fire():
    fired = []
    tuned = get_peft_model(nn.Sequential(nn.Linear(4, 4)), SurmConfig(structure="toeplitz", target_modules=["0"]))
    tuned.base_model.model[0].base_layer.register_forward_hook(lambda *_: fired.append(True))
    tuned(torch.randn(2, 4))
    assert fired


@every_linear_method
def test_merge_and_unmerge_to_the_bit(name):
    model = attached(name)
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
    model = attached(name)
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
    model = attached(name)
    twin, before = copy.deepcopy(model), logits(model)
    assert torch.equal(logits(twin), before)
    stir(twin, seed=3)
    assert torch.equal(logits(model), before)
    assert not close(logits(twin), before, 1e-3)


@every_method
def test_gradient_checkpointing_gives_the_same_gradients(name):
    plain, checkpointed = attached(name), attached(name)
    checkpointed.base_model.model.gradient_checkpointing_enable({"use_reentrant": False})
    for model in (plain, checkpointed):
        model.train()
        model(tokens(), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    pairs = [(a.grad, b.grad) for a, b in zip(plain.parameters(), checkpointed.parameters(), strict=True)]
    assert any(gradient is not None for gradient, _ in pairs)
    for gradient, same in pairs:
        torch.testing.assert_close(same, gradient)


@every_method
def test_mixed_dtypes(name):
    """The adapter is fp32 or wider, the answer has the backbone's dtype, and fp64 agrees with fp32."""

    def adapted(dtype: torch.dtype) -> PeftModel:
        torch.manual_seed(5)
        return stir(get_peft_model(backbone(dtype), method(name)))

    single = logits(adapted(torch.float32))
    for dtype, tolerance in ((torch.bfloat16, 0.05), (torch.float64, 1e-5)):
        model = adapted(dtype)
        adapter = [p for p in model.parameters() if p.requires_grad]
        assert {p.dtype for p in adapter} == {torch.promote_types(dtype, torch.float32)}
        answer = logits(model)
        assert answer.dtype == dtype
        assert close(answer.float(), single, tolerance)
        assert close(logits(model.to(dtype)).float(), single, 0.05)


@every_method
def test_autocast(name):
    model = attached(name)
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
