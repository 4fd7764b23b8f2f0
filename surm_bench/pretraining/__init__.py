"""How the two embedded backbones were pretrained; run by ``scripts/pretrain_embedded.py``."""

import surm_bench.torchvision_stub  # noqa: F401
