"""Every file of configs composes, and every adapter fits every family of models: attach, train, save, load."""

from functools import cache

import pytest
import timm
import torch
from omegaconf import OmegaConf
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

from surm_bench.adapters.build import attach
from surm_bench.adapters.roles import find_roles
from surm_bench.adapters.schedule import schedule
from surm_bench.config import AdapterConfig, Config
from surm_bench.config.composition import choices, compose, resolved
from surm_bench.errors import UserError
from surm_bench.models import split_qkv
from surm_bench.system.installation import config_dir
from surm_bench.training import Hooks, forward

GROUPS = ("model", "task", "adapter", "optimizer", "trainer", "tracking")
TEXT = {
    "vocab_size": 60,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 40,
    "num_labels": 3,
    "initializer_range": 0.1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
IMAGE = {"img_size": 32, "embed_dim": 64, "depth": 2, "num_heads": 4, "num_classes": 3}
TEXT_ONLY = ("prefix",)
OVERRIDES = {"adapter_drop": ["adapter.first_layer=1"]}  # of two layers


def vit(name: str) -> nn.Module:
    module = timm.create_model(name, **IMAGE)
    split_qkv(module)
    return module


FAMILIES = {
    "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**TEXT)),
    "bert": lambda: BertForSequenceClassification(BertConfig(**TEXT)),
    "vit": lambda: vit("vit_base_patch16_224"),
    "clip": lambda: vit("vit_base_patch16_clip_quickgelu_224"),
}


def backbone(family: str) -> nn.Module:
    torch.manual_seed(0)
    return FAMILIES[family]().eval()


def inputs(family: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    if family in ("roberta", "bert"):
        return {"input_ids": torch.randint(3, 60, (6, 11), generator=generator)}
    return {"x": torch.randn(6, 3, 32, 32, generator=generator)}


def logits(model: nn.Module, family: str) -> torch.Tensor:
    with torch.no_grad():
        return forward(model.eval(), inputs(family))


@cache
def composed(*overrides: str) -> Config:
    return resolved(overrides)


@pytest.mark.parametrize("group", GROUPS)
def test_every_file_composes_with_its_types_and_is_named_as_its_file(group):
    names = choices(group)
    assert names
    for name in names:
        cfg = compose([f"{group}={name}"])
        settings = OmegaConf.to_object(cfg)
        assert isinstance(settings, Config) and not OmegaConf.missing_keys(cfg)
        part = getattr(settings, group)
        if group == "optimizer":
            assert part.name == {"surm_glue": "adamw"}.get(name, name)
        elif group in ("model", "task", "adapter"):
            assert part.name == name


def test_every_adapter_says_what_it_is():
    """A label of its own, as tables tell methods apart by it, and its definition in the header."""
    adapters = [composed(f"adapter={name}").adapter for name in choices("adapter")]
    assert len({adapter.label for adapter in adapters}) == len(adapters)
    assert all(0 < adapter.lr < 1 for adapter in adapters)
    for adapter in adapters:
        assert (config_dir() / "adapter" / f"{adapter.name}.yaml").read_text().startswith("# ")


def test_the_preset_of_the_released_code_does_not_clip_gradients():
    """Its line that would is commented out."""
    assert composed("optimizer=surm_glue").optimizer.max_grad_norm == 0


def two_steps(model: PeftModel, family: str) -> None:
    hooks = schedule(model) or Hooks()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    hooks.begin(2)
    model.train()
    for step in (1, 2):
        loss = nn.functional.cross_entropy(forward(model, inputs(family)), torch.arange(6) % 3)
        (loss + hooks.penalty()).backward()
        optimizer.step()
        hooks.after_step(step)
        optimizer.zero_grad()


ON_QUERIES = [name for name in choices("adapter") if "q" in composed(f"adapter={name}").adapter.roles]


@pytest.mark.parametrize("family", ["bert", "vit"])
@pytest.mark.parametrize("adapter", ON_QUERIES)
def test_every_adapter_on_queries_also_takes_q_k_and_v(adapter, family):
    """As the paper places its own: the logits depend on the adapter of each of the three, and nothing else has one."""
    config = composed(f"adapter={adapter}", "adapter.roles=[q,k,v]", "adapter.role_fields={}").adapter
    module = backbone(family)
    roles = find_roles(name for name, _ in module.named_modules())
    model = attach(module, roles, config)
    two_steps(model, family)
    changed = logits(model, family)
    base = model.get_base_model()
    assert {name for name, layer in base.named_modules() if isinstance(layer, BaseTunerLayer)} == (
        set() if adapter == "attention_tuning" else {*roles["q"], *roles["k"], *roles["v"]}
    )
    for role in "qkv":
        layers = [base.get_submodule(name) for name in roles[role]]
        if adapter == "attention_tuning":
            assert all(layer.weight.grad is None and layer.weight.requires_grad for layer in layers)
            continue
        for layer in layers:
            layer.enable_adapters(False)
        assert not torch.equal(logits(model, family), changed)
        for layer in layers:
            layer.enable_adapters(True)


def fits(adapter: str, family: str) -> bool:
    return family in ("roberta", "bert") or adapter not in TEXT_ONLY


@pytest.mark.parametrize("family", ["vit", "clip"])
@pytest.mark.parametrize("adapter", TEXT_ONLY)
def test_what_needs_text_refuses_images(adapter, family):
    module = backbone(family)
    with pytest.raises(UserError, match=f"adapter '{adapter}' adds prompt tokens: it needs a text"):
        attach(module, find_roles(name for name, _ in module.named_modules()), composed(f"adapter={adapter}").adapter)


@pytest.mark.parametrize(("adapter", "family"), [(a, f) for a in choices("adapter") for f in FAMILIES if fits(a, f)])
def test_every_adapter_trains_saves_and_loads_on_every_family(adapter, family, tmp_path):
    config: AdapterConfig = composed(f"adapter={adapter}", *OVERRIDES.get(adapter, [])).adapter
    module = backbone(family)
    model = attach(module, find_roles(name for name, _ in module.named_modules()), config)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    start = logits(model, family)
    two_steps(model, family)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())  # no state has them
    in_head = {name for name in trained if "modules_to_save" in name}
    assert changed <= trained and changed >= in_head
    assert (changed > in_head) == (adapter != "linear_probe")
    answer = logits(model, family)
    assert not torch.allclose(answer, start, atol=1e-3)
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    loaded = PeftModel.from_pretrained(backbone(family), tmp_path)
    torch.testing.assert_close(logits(loaded, family), answer, atol=1e-5, rtol=0)
