"""Vision transformers against timm's own layers, loading and transforms."""

from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from PIL import Image
from safetensors.torch import load_file, save_file
from support.backbones import model_config, tiny_vit

import surm_bench.system.torchvision_stub  # noqa: F401
from surm_bench.adapters.roles import find_roles
from surm_bench.errors import UserError
from surm_bench.models import build_backbone, fuse_qkv, split_qkv
from surm_bench.models.vision import save

# isort: split
import timm
import torch
from timm.models.vision_transformer import VisionTransformer


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


def test_a_fused_qkv_has_no_roles():
    with pytest.raises(UserError, match="split_qkv"):
        find_roles(n for n, _ in tiny_vit().named_modules())


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


def saved_vit(file: Path, **options) -> str:
    """Weights of ViT-Tiny in other sizes."""
    sizes = dict(img_size=224, patch_size=16, embed_dim=192, depth=12, num_heads=3, num_classes=0)
    save_file(VisionTransformer(**{**sizes, **options}).state_dict(), file)
    return str(file)


def test_weights_of_another_patch_or_resolution_are_not_resampled_silently(tmp_path):
    other = saved_vit(tmp_path / "patch.safetensors", patch_size=32)
    for size in (None, 224):
        with pytest.raises(UserError, match="have patches of 32x32 pixels, but vit_tiny has 16x16: give weights of"):
            build_backbone(model_config("vit_tiny", weights=other, image_size=size), 2)
    larger = saved_vit(tmp_path / "large.safetensors", img_size=384)
    with pytest.raises(UserError, match="have 577 positions, but vit_tiny has 197: give model.image_size=224"):
        build_backbone(model_config("vit_tiny", weights=larger), 2)
    for size in (224, 112):
        module = build_backbone(model_config("vit_tiny", weights=larger, image_size=size), 2).module
        assert module.pos_embed.shape[1] == (size // 16) ** 2 + 1


def test_inputs_of_an_exported_model_that_are_not_taken_over_are_told(tmp_path, caplog):
    config = model_config("vit_digits", mean=[0.2])
    backbone = build_backbone(config, 3)
    save(backbone.module, config, tmp_path, backbone.processor, None)
    assert not caplog.messages
    again = model_config("vit_digits", weights=str(tmp_path))
    assert build_backbone(again, 3).processor.mean == [0.3]
    assert f"{tmp_path}/config.json is not read: mean is [0.3], not [0.2]: if the weights" in caplog.messages[0]
    build_backbone(config, 3)
    assert len(caplog.messages) == 1
