"""Pretraining of the two embedded backbones; run it with ``scripts/pretrain_embedded.py``."""

import surm_bench.system.torchvision_stub  # noqa: F401
