"""Every model that ships: closed-form counts, roles, and the use of its weights."""

import re

import pytest
import torch
from safetensors.torch import load_file
from support.backbones import model_config, numbers

from surm_bench.adapters.roles import find_roles
from surm_bench.models import build_backbone, build_skeleton, fuse_qkv
from surm_bench.system.installation import config_dir

CONFIGS = sorted((config_dir() / "model").glob("*.yaml"))


@pytest.mark.parametrize(
    ("name", "total", "head", "biases", "norms"),
    [
        ("roberta_base", 124_647_170, 592_130, 102_144, 38_400),
        ("roberta_large", 355_361_794, 1_051_650, 271_360, 100_352),
        ("bert_base", 109_483_778, 592_130, 102_144, 38_400),
        ("vit_base", 85_800_194, 1_538, 102_912, 38_400),
        ("clip_vit_base", 85_800_962, 1_538, 102_912, 39_936),  # a norm before the blocks, no bias in the patches
        ("vit_tiny", 5_524_802, 386, 25_728, 9_600),
    ],
)
def test_skeleton_counts(name, total, head, biases, norms):
    """The published counts of RoBERTa-base and ViT-B; norms are 2d each."""
    module = build_skeleton(model_config(name), num_labels=2)
    roles = find_roles(n for n, _ in module.named_modules())
    outside = [(n, p) for n, p in module.named_parameters() if not n.startswith(tuple(roles["head"]))]
    assert {p.device.type for p in module.parameters()} == {"meta"}
    assert sum(p.numel() for p in module.parameters()) == total
    assert numbers(module, roles["head"]) == head
    assert sum(p.numel() for n, p in outside if n.endswith("bias")) == biases
    assert numbers(module, roles["norm"]) == norms


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_model_composes_and_has_one_layer_of_each_role_in_a_block(file):
    config = model_config(file.stem)
    assert config.name == file.stem and file.read_text().startswith("# ")
    module = build_skeleton(config, num_labels=2)
    roles = find_roles(n for n, _ in module.named_modules())
    layers = {role: names for role, names in roles.items() if role not in ("mlp", "norm", "attention_norm", "head")}
    assert len({len(names) for names in layers.values()}) == 1
    chosen = [name for names in layers.values() for name in names]
    assert len(set(chosen)) == len(chosen)
    assert all(isinstance(module.get_submodule(name), torch.nn.Linear) for name in chosen)
    assert set(roles["attention_norm"]) < set(roles["norm"]) and len(roles["attention_norm"]) == len(layers["o"])
    assert [fc2.rpartition(".")[0] for fc2 in layers["fc2"]] == roles["mlp"]  # the module that fc2 is in
    widths = {role: module.get_submodule(names[0]).weight.shape for role, names in layers.items()}
    d = widths["q"][1]
    assert widths["q"] == widths["k"] == widths["v"] == widths["o"] == (d, d)
    assert widths["fc1"] == widths["fc2"][::-1] and widths["fc1"][1] == d
    linears = [n for n, m in module.named_modules() if isinstance(m, torch.nn.Linear)]
    in_head = [n for n in linears if n.startswith(tuple(roles["head"]))]
    assert sorted(chosen + in_head) == sorted(linears)  # no Linear without a role


@pytest.mark.parametrize(("name", "labels"), [("roberta_tiny", 3), ("vit_digits", 10)])
def test_embedded_weights_are_all_used(name, labels):
    from surm_bench.models.weights import EMBEDDED

    module = build_backbone(model_config(name), labels).module
    if name == "vit_digits":
        fuse_qkv(module)
    stored, own = load_file(EMBEDDED / name / "model.safetensors"), module.state_dict()
    encoder = [n for n in own if not n.startswith(("head.", "classifier."))]
    assert encoder and all(torch.equal(own[n], stored[n]) for n in encoder)


def test_hub_models_are_pinned():
    for config in (model_config(file.stem) for file in CONFIGS):
        if config.source == "hub" and not re.fullmatch("[0-9a-f]{40}", config.revision or ""):
            pytest.fail(f"model {config.name!r} has no revision: give the commit of the hub that is meant")
