"""Every file of configs composes, and adapters go where their configuration says."""

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from support.families import TEXT_ONLY, backbone, composed, logits, two_steps

from surm_bench.adapters.build import attach
from surm_bench.adapters.roles import find_roles
from surm_bench.config.composition import choices, read_files, resolved
from surm_bench.errors import UserError
from surm_bench.system.installation import config_dir

GROUPS = ("model", "task", "adapter", "optimizer", "trainer", "tracking")


@pytest.mark.parametrize("group", GROUPS)
def test_every_file_composes_with_its_types_and_is_named_as_its_file(group):
    names = choices(group)
    assert names
    read_files(f"{group}={name}" for name in names)
    for name in names:
        part = getattr(composed(f"{group}={name}"), group)
        assert "???" not in str(part)  # a value that is missing
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


def on_queries() -> list[str]:
    overrides = [f"adapter={name}" for name in choices("adapter")]
    read_files(overrides)
    return [name for name, one in zip(choices("adapter"), overrides, strict=True)
            if "q" in resolved([one]).adapter.roles]  # fmt: skip


@pytest.mark.parametrize("family", ["vit", pytest.param("bert", marks=pytest.mark.slow)])
@pytest.mark.parametrize("adapter", on_queries())
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


@pytest.mark.parametrize("family", ["vit", "clip"])
@pytest.mark.parametrize("adapter", TEXT_ONLY)
def test_what_needs_text_refuses_images(adapter, family):
    module = backbone(family)
    with pytest.raises(UserError, match=f"adapter '{adapter}' adds prompt tokens: it needs a text"):
        attach(module, find_roles(name for name, _ in module.named_modules()), composed(f"adapter={adapter}").adapter)
