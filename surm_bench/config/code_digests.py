"""A digest of the source code that determines results. It is equal in a checkout and in a wheel."""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from surm_bench.system.installation import PACKAGE

# The parts of the package that results depend on. Code that only stores, shows or launches runs is not among them.
DETERMINING = (
    "adapters",
    "config/trainer.py",
    "content",
    "metrics",
    "models",
    "run",
    "structured",
    "system/torchvision_stub.py",
    "tasks",
    "training",
)


@cache
def source_digest() -> str:
    """Return twelve hex digits of a digest of the names and contents of all Python and JSON files in DETERMINING."""
    files = [file for part in DETERMINING for file in _files(PACKAGE / part)]
    lines = (f"{file.relative_to(PACKAGE).as_posix()}:{_sha256(file)}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]


def method_digest(target: str) -> str | None:
    """Return twelve hex digits of a digest of the module of a method; None for methods of this package and of PEFT."""
    package, module = target.partition(".")[0], target.rpartition(".")[0]
    if package in ("surm_bench", "peft"):
        return None
    spec = find_spec(module)
    return _sha256(Path(spec.origin))[:12] if spec and spec.origin else None


def _files(part: Path) -> list[Path]:
    return sorted(file for file in part.rglob("*") if file.suffix in (".py", ".json")) if part.is_dir() else [part]


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
