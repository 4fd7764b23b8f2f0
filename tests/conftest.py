"""No test needs the network. Some need real data or weights: SURM_BENCH_DATA and SURM_BENCH_WEIGHTS say where."""

import surm_bench.system.torchvision_stub  # noqa: F401  (before peft and transformers)

# isort: split
import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before any import of the hub's libraries


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """A folder with glue/<task>/*.parquet and images/<task>/*.parquet."""
    return _folder("SURM_BENCH_DATA", "real data (glue/, images/)")


@pytest.fixture(scope="session")
def weights_dir() -> Path:
    """A folder with vit_tiny_patch16_224/model.safetensors."""
    return _folder("SURM_BENCH_WEIGHTS", "real weights (vit_tiny_patch16_224/)")


def _folder(variable: str, what: str) -> Path:
    if not os.environ.get(variable):
        pytest.skip(f"set {variable} to a folder of {what}")
    return Path(os.environ[variable])
