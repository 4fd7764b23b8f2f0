"""Pretrained backbones with new heads, and the roles of their layers."""

import surm_bench.system.torchvision_stub  # noqa: F401
from surm_bench.models.backbone import Backbone, build_backbone, build_skeleton, save_merged
from surm_bench.models.vision import fuse_qkv, split_qkv

__all__ = ["Backbone", "build_backbone", "build_skeleton", "fuse_qkv", "save_merged", "split_qkv"]
