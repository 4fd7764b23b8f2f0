"""What a record says of the machine and of the code that it was made with."""

import json
import shutil
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest

from surm_bench.system import environment


def test_environment_names_versions_and_this_commit():
    import torch

    described = environment.describe()
    versions = "python torch transformers peft timm surm_bench git_commit git_dirty"
    machine = "device device_kind platform threads processes deterministic cudnn_benchmark matmul_precision"
    assert list(described) == [*versions.split(), *machine.split()]
    assert described["torch"] == torch.__version__
    assert described["threads"] == torch.get_num_threads()
    if not torch.cuda.is_available():
        assert described["device_kind"].endswith(torch.backends.cpu.get_cpu_capability())
    json.dumps(described, allow_nan=False)


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "surm_bench"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.setattr(environment, "PACKAGE", folder)
    monkeypatch.setattr(environment, "config_dir", lambda: tmp_path / "configs")
    return folder


@pytest.fixture
def git(tmp_path):
    """Calls git in the folder above the package."""

    def call(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    return call


def test_git_state_of_a_checkout_an_edit_and_a_copy_inside_another_checkout(tmp_path, package, git):
    assert environment._git_state() == (None, None)
    git("init", "-q")
    (tmp_path / "other").write_text("")
    git("add", "other")
    git("commit", "-qm", "without us")
    assert environment._git_state() == (None, None)
    git("add", "surm_bench")
    git("commit", "-qm", "with us")
    assert environment._git_state() == (git("rev-parse", "HEAD"), False)
    (tmp_path / "results.md").write_text("")  # neither code nor configuration
    assert environment._git_state()[1] is False
    (package / "__init__.py").write_text("edited = True")
    assert environment._git_state() == (git("rev-parse", "HEAD"), True)


def test_what_git_cannot_tell_is_unknown_and_not_clean(tmp_path, package, git, monkeypatch):
    git("init", "-q")
    git("add", "surm_bench")
    git("commit", "-qm", "all")
    commit, real = git("rev-parse", "HEAD"), shutil.which("git")
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    monkeypatch.setenv("PATH", str(fake.parent))
    assert environment._git_state() == ("unknown", None)  # git is not installed
    fake.write_text(f'#!/bin/sh\ncase $* in *status*) exit 128;; esac\nexec {real} "$@"\n')
    fake.chmod(0o755)
    assert environment._git_state() == (commit, None)


def test_without_git_an_installed_package_has_no_commit(package, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment._git_state() == (None, None)


def test_peak_memory_covers_what_was_held():
    import torch

    held = bytearray(b"x" * 50_000_000)
    peak = environment.peak_memory_bytes()
    assert isinstance(peak, int)
    if not torch.cuda.is_available():
        assert len(held) < peak < 2**40


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere it never falls")
def test_peak_memory_of_a_later_run_is_its_own():
    """In a process of its own: what the tests before it left behind can be freed at any moment."""
    code = """
        from surm_bench.system import environment
        for size in (300_000_000, 100_000_000):
            environment.reset_peak_memory()
            before = environment.peak_memory_bytes()
            held = b"x" * size
            print(environment.peak_memory_bytes() - before)
            del held
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert [int(line) for line in run.stdout.split()] == pytest.approx([300_000_000, 100_000_000], rel=0.1)


def test_available_memory_heeds_the_limit_of_a_container(tmp_path, monkeypatch):
    """By hand: of 1000 bytes 300 and 100 cannot be dropped, 500 of cached files can."""
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=5000))
    monkeypatch.setattr(environment, "CONTROL_GROUP", tmp_path)
    assert environment.available_memory_bytes() == 5000
    (tmp_path / "memory.stat").write_text("anon 300\nfile 600\nshmem 100\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert environment.available_memory_bytes() == 5000
    (tmp_path / "memory.max").write_text("1000\n")
    assert environment.available_memory_bytes() == 600
