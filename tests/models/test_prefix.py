"""Training on cached hidden states against training the whole model, the oracle."""

from types import SimpleNamespace

import pytest
import timm
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from support import runs
from support.cases import slow_but
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from surm_bench import records
from surm_bench.adapters import SubsetConfig, SurmConfig
from surm_bench.config import TrainerConfig
from surm_bench.errors import UserError
from surm_bench.models import split_qkv
from surm_bench.models.prefix import cut
from surm_bench.run.loading import evaluate, load_run
from surm_bench.run.prefix_cache import cache_prefix
from surm_bench.tasks import TaskData
from surm_bench.tasks.batches import TextCollator

DIGITS = ["model=vit_digits", "task=digits"]
GRAMMAR = ["model=roberta_tiny", "task=grammar/acceptability"]
ADAPTERS = {
    "linear probe": ["adapter=linear_probe"],
    "late circulant": ["adapter=circulant", "adapter.first_layer=2"],
    "late, dropping out": ["adapter=lora", "adapter.first_layer=3", "adapter.peft.lora_dropout=0.3"],
    "late, with a hook": ["adapter=adalora", "adapter.first_layer=2"],
}
TEXT = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
DRY = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def start(results_dir, *overrides: str) -> dict:
    short = ["task.max_train_samples=90", "task.max_eval_samples=70", "trainer.epochs=2"]
    short += ["task.validation=holdout", "task.validation_rows=30"]
    return runs.start(results_dir, *overrides, *short, "trainer.progress=false", short=False)


def adapter_of(results_dir, record: dict) -> dict[str, torch.Tensor]:
    return load_file(records.run_folder(results_dir, record.run_id) / "adapter" / "adapter_model.safetensors")


@pytest.mark.parametrize("adapter", slow_but(["late circulant", "late, dropping out"], ADAPTERS))
@pytest.mark.parametrize("backbone", [DIGITS, GRAMMAR], ids=["digits", "grammar"])
def test_a_run_with_the_cache_is_the_run_without(tmp_path, backbone, adapter):
    """To the bit on images, whose batches round alike. A sequence may be padded otherwise: there to rounding."""
    overrides = [*backbone, *ADAPTERS[adapter], "optimizer.lr=0.01"]
    plain, cached = (start(tmp_path / on, *overrides, f"trainer.cache_prefix={on}") for on in ("false", "true"))
    assert plain.run_id == cached.run_id and plain.parameters == cached.parameters
    assert cached.timing.prefix_seconds > 0 and plain.timing.prefix_seconds is None
    wanted, found = adapter_of(tmp_path / "false", plain), adapter_of(tmp_path / "true", cached)
    assert found.keys() == wanted.keys()
    if backbone is DIGITS:
        assert cached.history == plain.history
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    else:
        losses = [[point["train_loss"] for point in record.history] for record in (cached, plain)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
        scores = [[point["scores"]["reported"] for point in record.history] for record in (cached, plain)]
        assert scores[0] == [pytest.approx(point, rel=1e-5) for point in scores[1]]
        assert all(torch.allclose(found[name], wanted[name], rtol=1e-4, atol=1e-4) for name in wanted)
    model, data, settings = load_run(records.run_folder(tmp_path / "true", cached.run_id))
    assert evaluate(model, data, settings)[plain.primary_metric] == pytest.approx(
        cached.scores["reported"]["last"][plain.primary_metric]
    )


# --- the cut ----------------------------------------------------------------------------------------------------------


def vit(**options) -> nn.Module:
    shape = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 3}
    model = timm.models.VisionTransformer(**shape, **options)
    split_qkv(model)
    return model


def bert(**options) -> nn.Module:
    return BertForSequenceClassification(BertConfig(**TEXT, **{**DRY, **options}))


def roberta(**options) -> nn.Module:
    return RobertaForSequenceClassification(RobertaConfig(**TEXT, **{**DRY, **options}))


def late_lora(layer: int, **options) -> LoraConfig:
    """On every linear layer of that layer of the stack, with the head."""
    heads = ["head", "classifier", "pooler"]
    return LoraConfig(
        target_modules=rf".*\b{layer}\..*(query|value|qkv\.q|dense|fc1)", modules_to_save=heads, **options
    )


MODELS = {
    "vit": vit,
    "vit, pooled by its mean": lambda: vit(global_pool="avg", fc_norm=True, class_token=False),
    "vit, pooled by attention": lambda: vit(global_pool="map"),
    "clip": lambda: vit(pre_norm=True),
    "bert": bert,
    "roberta": roberta,
}


def inputs_of(model: nn.Module) -> dict[str, torch.Tensor]:
    if isinstance(model, timm.models.VisionTransformer):
        return {"x": torch.randn(5, 3, 8, 8)}
    mask = torch.ones(5, 7, dtype=torch.int64)
    mask[1, 4:] = mask[3, 6:] = 0
    return {"input_ids": torch.randint(4, 30, (5, 7)) * mask + (1 - mask), "attention_mask": mask}


@pytest.mark.parametrize("layer", [1, 2, None])
@pytest.mark.parametrize("kind", MODELS)
def test_prefix_and_suffix_are_the_model(kind, layer):
    torch.manual_seed(0)
    backbone = MODELS[kind]()
    inputs = inputs_of(backbone)
    heads = {"modules_to_save": ["head", "classifier", "pooler"]}
    model = get_peft_model(backbone, SubsetConfig(parameters="none", **heads) if layer is None else late_lora(layer))
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)  # LoRA's B starts at zero
    suffix = cut(model.train())
    assert suffix.first == layer
    wanted = model(**inputs)
    wanted = wanted if torch.is_tensor(wanted) else wanted.logits
    hidden = suffix.prefix(inputs)
    assert hidden.shape[1:] == (1, 16) if layer is None else hidden.shape[2] == 16
    with torch.no_grad():
        torch.testing.assert_close(suffix(hidden, inputs.get("attention_mask")), wanted.detach(), rtol=0, atol=1e-6)
    wanted.sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    suffix(hidden, inputs.get("attention_mask")).sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == gradients.keys()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-5)


def test_layers_may_be_given_by_peft():
    late = SurmConfig(structure="circulant", target_modules=["query", "value"], layers_to_transform=[2])
    assert cut(get_peft_model(roberta(), late)).first == 2


def test_states_are_kept_without_padding_and_only_as_far_as_they_are_read():
    """A linear probe keeps d numbers an example."""
    torch.manual_seed(0)
    tokens = [[2, 5, 6, 7, 3], [2, 9, 3], [2, 5, 5, 5, 5, 8, 3]]
    examples = [{"input_ids": ids, "labels": label} for label, ids in enumerate(tokens)]
    pads = SimpleNamespace(pad_token_id=1, pad_token_type_id=0, padding_side="right")
    data = TaskData(examples, {"reported": examples[:2], "extra": examples[1:]}, TextCollator(pads), [5, 3, 7], {})
    probe = get_peft_model(roberta(), SubsetConfig(parameters="none", modules_to_save=["classifier"]))
    late = get_peft_model(roberta(), late_lora(2))
    trainer = TrainerConfig(batch_size=2, eval_batch_size=2, progress=False)
    _, states = cache_prefix(probe, data, trainer)
    assert [tuple(e["hidden"].shape) for e in states.train] == [(1, 16)] * 3
    assert sum(e["hidden"].untyped_storage().nbytes() for e in states.train) == 3 * 16 * 4
    suffix, states = cache_prefix(late, data, trainer)
    assert [tuple(e["hidden"].shape) for e in states.train] == [(5, 16), (3, 16), (7, 16)]
    assert [e["labels"].item() for e in states.train] == [0, 1, 2]
    assert [len(e["hidden"]) for e in states.splits["extra"]] == [3, 7] and len(states.splits["reported"]) == 2
    batch = states.collate([states.train[i] for i in (1, 0)])
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1] * 5] and batch["labels"].tolist() == [1, 0]
    alone = suffix.prefix({"input_ids": torch.tensor([tokens[1]])})[0]
    torch.testing.assert_close(batch["hidden"][0, :3], alone)
    assert not batch["hidden"][0, 3:].any()


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("adapter", "trained"),
    [("circulant", "roberta.encoder.layer.0"), ("full", "roberta.embeddings"), ("layernorm", "roberta.embeddings")],
)
def test_no_frozen_prefix(tmp_path, adapter, trained):
    with pytest.raises(UserError, match=f"no frozen prefix can be cached: this adapter trains {trained}.*first_layer"):
        start(tmp_path, *GRAMMAR, f"adapter={adapter}", "trainer.cache_prefix=true")


def test_prefix_tuning_has_no_frozen_prefix(tmp_path):
    """Its own acts on every layer, and no layer of the backbone shows it."""
    with pytest.raises(UserError, match="no frozen prefix can be cached: this adapter acts from the first layer on"):
        start(tmp_path, *GRAMMAR, "adapter=prefix", "trainer.cache_prefix=true")


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (lambda: roberta(hidden_dropout_prob=0.1), r"roberta.embeddings.dropout with p=0.1 and \d+ more"),
        (lambda: bert(attention_probs_dropout_prob=0.2), r"bert.encoder.layer.0.attention.self.dropout with p=0.2"),
        (lambda: vit(drop_path_rate=0.3), r"blocks.1.drop_path1 with p=0.15"),
        (lambda: vit(patch_drop_rate=0.5), "patch_drop with p=0.5"),
    ],
)
def test_a_prefix_that_drops_out(backbone, message):
    model = get_peft_model(backbone(), late_lora(2))
    with pytest.raises(UserError, match=f"cannot be cached: it has dropout in training .{message}"):
        cut(model)


def test_what_drops_out_behind_the_cut_may():
    assert cut(get_peft_model(roberta(classifier_dropout=0.5), late_lora(2, lora_dropout=0.5))).first == 2


def test_a_model_of_another_family():
    shape = {"vocab_size": 30, "dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16}
    model = DistilBertForSequenceClassification(DistilBertConfig(**shape))
    with pytest.raises(UserError, match="DistilBertForSequenceClassification: choose from VisionTransformer"):
        cut(get_peft_model(model, LoraConfig(target_modules=["q_lin"])))


def test_more_states_than_half_of_the_memory(tmp_path, monkeypatch):
    """digits: 90 + 30 + 70 examples of 17 tokens, 64 numbers of 4 bytes."""
    needed = 190 * 17 * 64 * 4
    overrides = [*DIGITS, *ADAPTERS["late circulant"], "trainer.cache_prefix=true"]
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2 * needed - 2))
    with pytest.raises(
        UserError, match=r"needs 0.001 GiB for the hidden states of 190 examples, but half .* 0.001 GiB"
    ):
        start(tmp_path, *overrides)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2 * needed))
    assert start(tmp_path, *overrides).status == "success"
