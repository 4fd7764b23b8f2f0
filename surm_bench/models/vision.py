"""Vision backbones: timm's VisionTransformer, with the fused qkv split into separate layers q, k and v."""

import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from timm.models import save_for_hf
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn
from torchvision.transforms.functional import normalize

from surm_bench.config import ModelConfig
from surm_bench.content.weights import WEIGHTS_FILE
from surm_bench.errors import UserError
from surm_bench.hub import Repository, fetch
from surm_bench.models.weights import (
    EMBEDDED,
    config_beside,
    local_path,
    read_safetensors,
    refuse_misfits,
    warn_of_differences,
)

LIBRARY = "timm"
HAS_TOKENIZER = False
HEAD = re.compile(r"^head\.")
STAND_IN = "vit_tiny_patch16_224"  # a timm name: any VisionTransformer will do, because all arguments are given
# Ends of names in checkpoints of timm and of OpenCLIP, whose encoder of texts has a positional_embedding of its own.
PATCHES = ("patch_embed.proj.weight", "visual.conv1.weight")
POSITIONS = ("pos_embed", "visual.positional_embedding")
OPEN_CLIP_FILE = "open_clip_model.safetensors"


@dataclass(frozen=True)
class ImageProcessor:
    """PIL image -> float tensor (channels, height, width), with the transform of the checkpoint's evaluation.

    The transform has two steps. The first step is slow; its uint8 result can be kept in a quarter of the memory.

    Attributes:
        crops: whether the ends of a long image are cut off.
    """

    mode: str
    resize: Callable[[Image.Image], Tensor]
    mean: Sequence[float]
    std: Sequence[float]
    crops: bool = False

    def __call__(self, image: Image.Image) -> Tensor:
        return self.normalise(self.pixels(image))

    def pixels(self, image: Image.Image) -> Tensor:
        """Resize and crop: PIL image -> uint8 tensor (channels, height, width)."""
        return self.resize(image.convert(self.mode))

    def normalise(self, pixels: Tensor) -> Tensor:
        """Normalise pixels: uint8 -> float of the same shape."""
        return normalize(pixels.float().div_(255), self.mean, self.std, inplace=True)


class SplitQKV(nn.Module):
    """timm's fused projection, x (..., d) -> (..., 3d), as three layers [q(x) | k(x) | v(x)]; bit-identical outputs."""

    def __init__(self, fused: nn.Linear) -> None:
        super().__init__()
        weights = fused.weight.chunk(3)
        biases = (None,) * 3 if fused.bias is None else fused.bias.chunk(3)
        self.q, self.k, self.v = map(_linear, weights, biases)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.q(x), self.k(x), self.v(x)), dim=-1)

    def fused(self) -> nn.Linear:
        parts = self.q, self.k, self.v
        if not all(isinstance(part, nn.Linear) for part in parts):
            raise TypeError("q, k and v carry adapters: merge them (merge_and_unload) before fuse_qkv")
        biases = [part.bias for part in parts]
        return _linear(torch.cat([part.weight for part in parts]), None if biases[0] is None else torch.cat(biases))


def split_qkv(vit: nn.Module) -> None:
    """Replace every ``blocks.N.attn.qkv`` by a :class:`SplitQKV`, in place; the outputs stay bit-identical."""
    for block in vit.blocks:
        if isinstance(block.attn.qkv, nn.Linear):
            block.attn.qkv = SplitQKV(block.attn.qkv)


def fuse_qkv(vit: nn.Module) -> None:
    """Undo :func:`split_qkv` in place, so that ``state_dict`` has timm's names.

    Raises:
        TypeError: a projection still carries an adapter.
    """
    for block in vit.blocks:
        if isinstance(block.attn.qkv, SplitQKV):
            block.attn.qkv = block.attn.qkv.fused()


def build(config: ModelConfig, num_labels: int) -> tuple[nn.Module, Callable]:
    """Return the pretrained ViT with a new head, and the image transform of its evaluation."""
    module = _create(config, num_labels)
    path = local_path(config)
    tensors = read_safetensors(download(config) if path is None else path)
    _check_sizes(module, tensors, config)
    _load(module, tensors, config.name)
    split_qkv(module)
    seen = resolve_model_data_config(module, args=input_options(module, config))
    if path is not None:
        _warn_of_other_inputs(config, path, seen)
    resize = create_transform(**seen, is_training=False, normalize=False)
    mode = "L" if seen["input_size"][0] == 1 else "RGB"
    return module, ImageProcessor(mode, resize, seen["mean"], seen["std"], seen["crop_mode"] == "center")


def head(_: ModelConfig) -> re.Pattern[str]:
    """Return a pattern of the tensors that do not count in the digest, because they are drawn anew."""
    return HEAD


def input_options(module: VisionTransformer, config: ModelConfig) -> dict[str, Any]:
    """Return timm's options for the image input: the size, and the settings that the configuration gives.

    Raises:
        UserError: model.mean or model.std has the wrong number of channels.
    """
    channels = module.patch_embed.proj.in_channels
    given = {"input_size": (channels, *module.patch_embed.img_size), "crop_pct": config.crop_pct}
    if config.crop_mode is not None:
        given["crop_mode"] = config.crop_mode
    for name in ("mean", "std"):
        values = getattr(config, name)
        if values is not None and len(values) not in (1, channels):
            raise UserError(f"model.{name}={values} is not possible: {config.name} has {channels} channels")
        if values is not None:
            given[name] = tuple(values) * (channels // len(values))
    return given


def save(
    module: VisionTransformer, config: ModelConfig, folder: Path, _: Callable, label_names: Sequence[str] | None
) -> None:
    """Write files that ``timm.create_model("local-dir:folder", pretrained=True)`` reads; fuse qkv in place.

    Raises:
        TypeError: a projection still carries an adapter.
    """
    fuse_qkv(module)
    seen, own = input_options(module, config), {}
    if config.source == "embedded":  # timm has no name for an embedded model
        own = _embedded(config)["kwargs"] | {"img_size": module.patch_embed.img_size, "num_classes": module.num_classes}
        module.pretrained_cfg |= {"architecture": STAND_IN, "input_size": seen["input_size"], "fixed_input_size": True}
    names = {"label_names": list(label_names)} if label_names else None
    save_for_hf(module, str(folder), names, model_args=own, data_config=seen, safe_serialization=True)


def hub_name(config: ModelConfig) -> str | None:
    """Return the name of the checkpoint on the hub, as timm knows it."""
    return timm.get_pretrained_cfg(config.checkpoint).hf_hub_id


def random_inputs(module: nn.Module, _: ImageProcessor) -> dict[str, Tensor]:
    """Draw a batch of two images of random pixels, (2, channels, height, width)."""
    shape = (2, module.patch_embed.proj.in_channels, *module.patch_embed.img_size)
    return {"x": torch.randn(shape, generator=torch.Generator().manual_seed(0))}


def loading_lines(config: ModelConfig, base: str, num_labels: int) -> tuple[list[str], list[str]]:
    """Return imports and code, for a model card, that build this backbone from the hub with a new head as ``base``."""
    size = f", img_size={config.image_size}" if config.image_size else ""
    at = f"@{config.revision}" if config.revision else ""
    source = f"pretrained_cfg_overlay={{'hf_hub_id': '{base}{at}'}}"
    built = [
        f"base = timm.create_model({config.checkpoint!r}, pretrained=True, num_classes={num_labels}{size}, {source})",
        "split_qkv(base)  # q, k and v as layers of their own",
    ]
    return ["import timm", "from surm_bench.models import split_qkv"], built


def skeleton(config: ModelConfig, num_labels: int) -> nn.Module:
    """Build the module on the meta device, with split qkv."""
    with torch.device("meta"):
        module = _create(config, num_labels, weight_init="skip")  # drawing takes seconds even on the meta device
        split_qkv(module)
    return module


def _create(config: ModelConfig, num_labels: int, **options: Any) -> VisionTransformer:
    """Return a ViT with random values. timm resamples position embeddings to ``image_size`` when weights are loaded."""
    if config.image_size is not None:
        options["img_size"] = config.image_size
    if config.source == "embedded":
        fields = _embedded(config)
        module = VisionTransformer(**{**fields["kwargs"], **options, "num_classes": num_labels})
        module.pretrained_cfg = {"mean": fields["mean"], "std": fields["std"], "crop_pct": 1.0}
    else:
        _check_architecture(config.checkpoint)
        module = timm.create_model(config.checkpoint, pretrained=False, num_classes=num_labels, **options)
    patch = module.patch_embed.patch_size[0]
    if config.image_size is not None and config.image_size % patch:
        raise UserError(f"model.image_size={config.image_size} is not a multiple of {config.name}'s patch size {patch}")
    return module


def _embedded(config: ModelConfig) -> dict:
    return json.loads((EMBEDDED / config.checkpoint / "config.json").read_text())


@cache
def _check_architecture(checkpoint: str) -> None:
    """Refuse a model that timm does not build as a plain VisionTransformer: its layers have other names and inputs."""
    architecture = checkpoint.partition(".")[0]
    if not timm.is_model(architecture):
        raise UserError(
            f"timm has no model {architecture!r}: timm.list_models('*vit*') and timm.list_models('deit*') list names"
        )
    with torch.device("meta"):
        kind = type(timm.create_model(architecture, pretrained=False))
    if kind is not VisionTransformer:
        raise UserError(
            f"{architecture} is a {kind.__name__} of timm, but only a VisionTransformer is supported, such as "
            "vit_tiny_patch16_224 or deit_tiny_patch16_224"
        )


def download(config: ModelConfig) -> Path:
    """Download a hub model's weights and return the file.

    OpenAI's CLIP may have only OpenCLIP's file, which timm converts.
    """
    repository = Repository(timm.get_pretrained_cfg(config.checkpoint).hf_hub_id, config.revision)
    folder = fetch(repository, lambda names: [_weights(repository.name, names)])
    return folder / _weights(repository.name, {path.name for path in folder.iterdir()})


def _weights(repository: str, names: Collection[str]) -> str:
    for name in (WEIGHTS_FILE, OPEN_CLIP_FILE):
        if name in names:
            return name
    raise UserError(f"{repository} has no {WEIGHTS_FILE} on the hub: choose another model or revision")


def _check_sizes(module: VisionTransformer, tensors: dict[str, Tensor], config: ModelConfig) -> None:
    """Refuse other patches, and other positions unless image_size is given: timm would resample them silently."""
    patch, positions = module.patch_embed.patch_size, module.pos_embed
    for name, tensor in tensors.items():
        if name.endswith(PATCHES) and tensor.ndim == 4 and tuple(tensor.shape[-2:]) != patch:
            size = "x".join(map(str, tensor.shape[-2:]))
            raise UserError(
                f"these weights have patches of {size} pixels, but {config.name} has {patch[0]}x{patch[1]}: give "
                f"weights of {config.name}"
            )
        if positions is None or config.image_size is not None or not name.endswith(POSITIONS):
            continue
        # Class and register tokens may have positions of their own in the file and none in timm, or the reverse.
        if abs(tensor.shape[-2] - positions.shape[-2]) > module.num_prefix_tokens:
            raise UserError(
                f"these weights have {tensor.shape[-2]} positions, but {config.name} has {positions.shape[-2]}: give "
                f"model.image_size={module.patch_embed.img_size[0]}, or another size, to resample them"
            )


def _warn_of_other_inputs(config: ModelConfig, path: Path, seen: dict[str, Any]) -> None:
    """Compare the preparation of images with timm's config.json beside the weights; given keys are not compared."""
    beside = config_beside(path).get("pretrained_cfg", {})
    names = [name for name in ("mean", "std", "crop_pct", "interpolation") if name in beside and name in seen]
    names = [name for name in names if getattr(config, name, None) is None]
    warn_of_differences(path, {name: tuple(_plain(at[name]) for at in (beside, seen)) for name in names})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _load(module: VisionTransformer, tensors: dict[str, Tensor], name: str) -> None:
    """Copy a checkpoint without its head into the module, or refuse a checkpoint that does not fit."""
    own = {key: value for key, value in module.state_dict().items() if not key.startswith("head.")}
    given = {key: value for key, value in checkpoint_filter_fn(tensors, module).items() if not key.startswith("head.")}
    misshapen = [key for key in own.keys() & given.keys() if own[key].shape != given[key].shape]
    refuse_misfits(name, missing=own.keys() - given.keys(), misshapen=misshapen, unexpected=given.keys() - own.keys())
    module.load_state_dict(given, strict=False)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a Linear with copies of the given values."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad)
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().clone(), requires_grad=bias.requires_grad)
    return linear
