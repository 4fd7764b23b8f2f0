"""No test needs the network. Some need real data or weights: SURM_BENCH_DATA and SURM_BENCH_WEIGHTS say where."""

import surm_bench.system.torchvision_stub  # noqa: F401  (before peft and transformers)

# isort: split
import os
from functools import lru_cache
from pathlib import Path

import pytest

from surm_bench.content import rows

os.environ["HF_HUB_OFFLINE"] = "1"  # before any import of the hub's libraries


@pytest.fixture(scope="session", autouse=True)
def decoded_once():
    """Decode an image once for all digests: a run on digits digests the same 1,797 images twice, half of its time."""
    decode = rows.image_fields

    @lru_cache(maxsize=8192)
    def of_bytes(encoded: bytes, name: str, white: float | None) -> tuple[bytes, bytes]:
        return decode({"bytes": encoded, "path": None}, name, white)

    def image_fields(stored: dict, name: str, white: float | None = None) -> tuple[bytes, bytes]:
        if stored["bytes"] is None:
            return decode(stored, name, white)
        return of_bytes(stored["bytes"], name, white)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "image_fields", image_fields)
        yield


@pytest.fixture
def empty_figures():
    """Figures are empty files, which a test that only needs their names takes instead of drawn ones."""
    from support.figures import drawn_as

    with drawn_as():
        yield


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
