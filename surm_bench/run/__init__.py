"""Runs: from a configuration to its record."""

from surm_bench.system.collection import without_collection

with without_collection():
    import surm_bench.system.torchvision_stub  # noqa: F401

    # isort: split
    import peft  # noqa: F401  # the largest import: torch and transformers with it
