"""Pretrained backbones with new heads, and the roles of their layers."""

from typing import Any

import surm_bench.system.torchvision_stub  # noqa: F401
from surm_bench.models.backbone import Backbone, build_backbone, build_skeleton

__all__ = ["Backbone", "build_backbone", "build_skeleton", "fuse_qkv", "split_qkv"]


def __getattr__(name: str) -> Any:
    """Import timm only for images: its import takes a second."""
    if name not in ("fuse_qkv", "split_qkv"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from surm_bench.models import vision

    return getattr(vision, name)
