"""Which weights are read: pinned revisions, and the refusal of wrong, broken and missing ones."""

import dataclasses
import json
import time
from pathlib import Path

import pytest
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from support.backbones import model_config, save_toy, tiny_vit

import surm_bench.system.torchvision_stub  # noqa: F401
from surm_bench import hub
from surm_bench.errors import UserError
from surm_bench.models import build_backbone

# isort: split
import timm
import torch

PINNED, NEWEST = "a" * 40, "b" * 40


@pytest.fixture
def snapshots(tmp_path, monkeypatch):
    """Makes a folder of the hub's local cache: a repository at a revision; its branch main is at NEWEST."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    hub.reach.forget()

    def make(repository: str, revision: str) -> Path:
        root = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        (root / "refs").mkdir(parents=True, exist_ok=True)
        (root / "refs" / "main").write_text(NEWEST)
        (root / "snapshots" / revision).mkdir(parents=True)
        return root / "snapshots" / revision

    return make


@pytest.mark.parametrize("revision", [PINNED, None])
def test_text_weights_and_tokenizer_are_of_the_pinned_revision(revision, toy, snapshots):
    for commit, words in ((PINNED, 5), (NEWEST, 4)):
        folder = save_toy(snapshots("nobody/toy", commit))
        tensors = load_file(folder / "model.safetensors")
        tensors["roberta.embeddings.word_embeddings.weight"][:] = words
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        tokenizer["model"]["vocab"] = dict(list(tokenizer["model"]["vocab"].items())[:words])
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    backbone = build_backbone(dataclasses.replace(toy, weights=None, revision=revision), 2)
    words = 5 if revision == PINNED else 4
    assert (backbone.module.roberta.embeddings.word_embeddings.weight == words).all()
    assert len(backbone.processor) == words


@pytest.mark.parametrize("file", ["model.safetensors", "open_clip_model.safetensors"])
def test_vision_weights_are_of_the_pinned_revision(file, snapshots):
    config = model_config("vit_tiny", revision=PINNED)
    tensors = timm.create_model("vit_tiny_patch16_224").state_dict()
    for commit, value in ((PINNED, 5.0), (NEWEST, 4.0)):
        tensors["cls_token"][:] = value
        save_file(tensors, snapshots(f"timm/{config.checkpoint}", commit) / file)
    assert (build_backbone(config, 2).module.cls_token == 5).all()
    assert (build_backbone(dataclasses.replace(config, revision=None), 2).module.cls_token == 4).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_hidden_layers": 1}, "missing roberta.encoder.layer.1."),
        ({"num_hidden_layers": 3}, "unexpected roberta.encoder.layer.2."),
        ({"hidden_size": 16}, "misshapen roberta."),
        ({"model_type": "bert"}, "missing roberta."),
    ],
    ids=str,
)
def test_text_weights_of_another_architecture(toy, tmp_path, changes, words):
    toy.weights = str(save_toy(tmp_path / "other", **changes))
    with pytest.raises(UserError, match="do not have the architecture of toy") as error:
        build_backbone(toy, 2)
    assert words in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depth": 1}, "missing blocks."),
        ({"depth": 13}, "unexpected blocks.12."),
        ({"embed_dim": 96}, "misshapen "),
        ({"in_chans": 1}, "misshapen patch_embed.proj.weight"),
    ],
    ids=str,
)
def test_vit_weights_of_another_architecture(tmp_path, options, words):
    sizes = dict(img_size=224, patch_size=16, embed_dim=192, depth=12)
    save_file(tiny_vit(**{**sizes, **options}).state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="do not have the architecture of vit_tiny") as error:
        build_backbone(model_config("vit_tiny", weights=str(tmp_path / "other.safetensors")), 2)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_pickles_and_broken_files_are_refused(toy, tmp_path):
    folder = Path(toy.weights)
    vit = model_config("vit_tiny", weights=str(tmp_path / "weights.bin"))
    torch.save({}, tmp_path / "weights.bin")
    with pytest.raises(UserError, match="pickles are not read"):
        build_backbone(vit, 2)
    vit.weights = str(tmp_path / "broken.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"not tensors")
    with pytest.raises(UserError, match="not a readable safetensors"):
        build_backbone(vit, 2)
    (folder / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(UserError, match="not a readable safetensors"):
        build_backbone(toy, 2)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="expected a folder with model.safetensors"):
        build_backbone(toy, 2)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("vit_tiny", {"weights": "/nowhere/at/all"}, "/nowhere/at/all does not exist"),
        ("vit_tiny", {"image_size": 100}, "image_size=100 is not a multiple of vit_tiny's patch size 16"),
        ("vit_tiny", {"family": "audio"}, "choose from text, vision"),
        ("vit_tiny", {"source": "disk"}, "choose from embedded, hub, package"),
        ("vit_tiny", {"checkpoint": "resnet18.a1_in1k"}, "resnet18 is a ResNet of timm"),
        ("vit_tiny", {"checkpoint": "deit_tiny_distilled_patch16_224"}, "is a VisionTransformerDistilled of timm"),
        ("vit_tiny", {"checkpoint": "vit_huge_patch99"}, "timm has no model 'vit_huge_patch99'"),
        (
            "minilm",
            {"checkpoint": "no_such_package/model"},
            "package no_such_package, which is not installed: configs/model/minilm.yaml",
        ),
        ("vit_digits", {"mean": [0.0, 0.0, 0.0]}, "vit_digits has 1 channels"),
    ],
)
def test_bad_options(name, changes, words, request):
    if "image_size" in changes:
        changes = {**changes, "weights": str(request.getfixturevalue("tmp_path") / "w.safetensors")}
        save_file({"nothing": torch.zeros(1)}, changes["weights"])
    with pytest.raises(UserError, match=words):
        build_backbone(model_config(name, **changes), 2)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("vit_tiny", {"image_size": 0}, "model.image_size=0 is not possible: at least 1, or null"),
        ("vit_tiny", {"crop_pct": 1.5}, "crop_pct=1.5 is not possible: at least 0.1 and at most 1, or null"),
        (
            "minilm",
            {"image_size": 16},
            "model.image_size=16 has no effect with model.family=text: only vision reads it",
        ),
        ("minilm", {"crop_mode": "squash"}, "crop_mode=squash has no effect with model.family=text"),
        ("vit_tiny", {"crop_mode": "pad"}, "unknown model.crop_mode 'pad': choose from border, center, squash"),
        ("vit_tiny", {"std": [0.0]}, r"model.std=\[0.0\] is not possible: each above 0, or null"),
        ("vit_tiny", {"mean": [0.0, 0.0]}, "give a number for each channel, or one for all"),
    ],
)
def test_what_the_configuration_alone_shows_to_be_wrong(name, changes, words):
    with pytest.raises(UserError, match=words):
        model_config(name, **changes).check()


@pytest.mark.parametrize("offline", [True, False], ids=["offline mode", "no network"])
@pytest.mark.parametrize("name", ["roberta_base", "vit_base"])
def test_hub_out_of_reach_is_told_at_once(name, offline, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))  # cached on this machine or not
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    hub.reach.forget()
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with pytest.raises(UserError, match="out of reach") as error:
        build_backbone(model_config(name, checkpoint=_unknown(name)), 2)
    hub.reach.forget()
    assert sum(slept) < 5  # seconds between attempts
    assert constants.HF_HUB_OFFLINE is offline  # as it was
    assert all(word in str(error.value) for word in ("--data", "DATA=", "--weights", "WEIGHTS=", "make demo"))
    assert "\n" not in str(error.value)


def _unknown(name: str) -> str:
    """A text checkpoint that no machine has cached; timm's names are a closed list."""
    return "nobody/no-such-checkpoint" if name == "roberta_base" else "vit_base_patch16_224.augreg_in21k"
