"""The wheel in an environment of its own, away from the checkout: its command counts and trains."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """A new environment with the wheel alone; the other packages are those of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(CHECKOUT)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)], check=True)
    (site,) = (folder / "venv").glob("lib/*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")  # its own .pth files are not read
    return folder / "venv" / "bin"


def output(program: Path, arguments: list[str], cwd: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([program, *arguments], cwd=cwd, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_command_of_a_wheel_needs_no_checkout(environment, tmp_path):
    """It finds its configurations, data and backbone in the package, and writes where it is called."""
    (module,) = (environment.parent / "lib").glob("*/site-packages/surm_bench/__init__.py")
    where = ["-c", "import surm_bench; print(surm_bench.__file__)"]
    assert output(environment / "python", where, tmp_path).strip() == str(module)
    short = ["trainer.max_steps=2", "trainer.progress=false", "task.max_train_samples=64", "task.max_eval_samples=32"]
    run = ["run", "model=vit_digits", "task=digits", "adapter=circulant", *short]
    assert "accuracy 0." in output(environment / "surm-bench", run, tmp_path)
    assert len(list((tmp_path / "results" / "runs").glob("*/record.json"))) == 1
