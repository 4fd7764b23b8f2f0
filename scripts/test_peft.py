"""Run PEFT's own tests over our methods (``make test-peft``); arguments go to pytest.

The tests are in the source distribution of the installed version of PEFT, which pip downloads once, to outputs/peft.
Only the tests over lists of methods are run: on toy networks, encoders, decoders and encoder-decoders, with tiny models
that are made here instead of downloaded. ``tests/peft_suite`` has our cases and the exceptions.
"""

import importlib.metadata
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WITHOUT = ["-o", "addopts=", "-o", "filterwarnings="]  # no coverage, and no errors from deprecated calls in PEFT
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from peft_suite.cases import LISTS  # noqa: E402
from peft_suite.models import make_models  # noqa: E402


def download(version: str, cache: Path) -> Path:
    """Return the unpacked source distribution of PEFT; download it unless the cache folder has it."""
    source = cache / f"peft-{version}"
    if not source.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as partial:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "peft"]
            if subprocess.run([*pip, "--dest", partial, f"peft=={version}"]).returncode:
                sys.exit(f"PEFT's tests are in the source distribution of peft {version}, which pip could not download")
            with tarfile.open(next(Path(partial).glob("peft-*.tar.gz"))) as archive:
                archive.extractall(partial, filter="data")
            (Path(partial) / source.name / "tests" / "__init__.py").touch()  # the distribution lacks it
            (Path(partial) / source.name).rename(source)
    return source


def main(arguments: list[str]) -> int:
    """Run the tests and return the exit code of pytest."""
    source = download(importlib.metadata.version("peft"), ROOT / "outputs" / "peft")
    make_models(source)
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-m", "pytest", *WITHOUT, "-p", "peft_suite.plugin", "-q", *arguments]
    files = [f"tests/{module}.py" for module in LISTS]
    return subprocess.run([*command, *files], cwd=source, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
