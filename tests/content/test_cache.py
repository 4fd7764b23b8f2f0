"""Digests of files, and the cache that keeps them."""

import hashlib
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from surm_bench.content import FileCache, file_digest, tokenizer_digest, weights_digest
from surm_bench.errors import UserError
from surm_bench.models.text import HEAD


class Counted:
    """A computation that says how often it was asked."""

    def __init__(self, answer: str = "answer") -> None:
        self.answer, self.calls = answer, 0

    def __call__(self) -> str:
        self.calls += 1
        return self.answer


@pytest.fixture
def file(tmp_path) -> Path:
    (tmp_path / "data").write_bytes(b"abcd")
    return tmp_path / "data"


@pytest.fixture
def cache(tmp_path) -> FileCache:
    return FileCache(tmp_path / "cache")


def test_file_digest_is_sha256(file, cache):
    expected = hashlib.sha256(b"abcd").hexdigest()[:12]
    assert file_digest(file) == file_digest(file, cache) == file_digest(file, cache) == expected


def test_a_cached_answer_is_used(file, cache):
    compute = Counted()
    for _ in range(3):
        assert cache.get([file], "name", compute) == "answer"
        assert FileCache(cache.folder).get([file], "name", compute) == "answer"  # another process
    assert compute.calls == 1


def test_every_digest_goes_through_the_cache(file, cache, tmp_path):
    """A file changed in a way that its stamp does not show: only an answer from the cache can still be the old one."""
    (tmp_path / "tokenizer.json").write_text('{"a": 1}')
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    digests = {
        file: lambda cache=None: file_digest(file, cache),
        tmp_path / "tokenizer.json": lambda cache=None: tokenizer_digest(tmp_path, cache),
        tmp_path / "model.safetensors": lambda cache=None: weights_digest(tmp_path, HEAD, cache),
    }
    for path, digest in digests.items():
        old, times = digest(cache), path.stat()
        with path.open("r+b") as opened:
            opened.seek(-2, os.SEEK_END)
            last = opened.read(1)
            opened.seek(-2, os.SEEK_END)
            opened.write(bytes([last[0] ^ 3]))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        new = digest()
        assert new != old
        assert digest(cache) == old
        assert digest(FileCache(cache.folder, verify=True)) == new
        assert digest(cache) == new  # what was verified is kept


def test_other_heads_are_another_entry(tmp_path, cache):
    save_file({"a": torch.zeros(2), "classifier.b": torch.zeros(1)}, tmp_path / "w.safetensors")
    path = tmp_path / "w.safetensors"
    assert weights_digest(path, HEAD, cache) != weights_digest(path, None, cache) == weights_digest(path)


def test_what_makes_the_cache_ask_again(file, cache, tmp_path):
    cache.get([file], "name", Counted("old"))
    times = file.stat()

    file.write_bytes(b"dcba")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert cache.get([file], "name", Counted("later")) == "later"

    file.write_bytes(b"longer")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert cache.get([file], "name", Counted("longer")) == "longer"

    (tmp_path / "other").write_bytes(b"LONGER")
    os.replace(tmp_path / "other", file)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert cache.get([file], "name", Counted("replaced")) == "replaced"

    assert cache.get([file], "another name", Counted("other")) == "other"
    assert cache.get([file, file], "name", Counted("two")) == "two"
    assert cache.get([file], "name", Counted("new")) == "replaced"


def test_one_path_however_it_is_written(file, cache, monkeypatch):
    cache.get([file], "name", Counted("kept"))
    monkeypatch.chdir(file.parent)
    assert cache.get([file.name], "name", Counted("new")) == "kept"


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b"null", b'{"stamp": 1}', b"\xff\xfe"])
def test_an_unreadable_cache_is_no_cache(broken, file, cache):
    cache.get([file], "name", Counted())
    (entry,) = cache.folder.iterdir()
    entry.write_bytes(broken)
    assert cache.get([file], "name", Counted("new")) == "new"
    assert cache.get([file], "name", Counted("newer")) == "new"  # written anew


def test_a_cache_that_cannot_be_written_is_no_cache(file, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert FileCache(tmp_path / "cache").get([file], "name", Counted()) == "answer"


def test_a_failed_computation_leaves_nothing(file, cache):
    def fail() -> str:
        raise UserError("unreadable")

    with pytest.raises(UserError):
        cache.get([file], "name", fail)
    assert cache.get([file], "name", Counted()) == "answer"


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert FileCache().folder == tmp_path / "surm_bench" / "digests"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert FileCache().folder == tmp_path / "home" / ".cache" / "surm_bench" / "digests"


def test_a_user_without_a_home_has_no_cache(file, monkeypatch):
    """As in a container that runs under the number of a user it does not know."""

    def unknown(number):
        raise KeyError(f"uid not found: {number}")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    compute = Counted()
    assert [FileCache().get([file], "name", compute) for _ in range(2)] == ["answer"] * 2
    assert compute.calls == 2


def test_content_needs_no_torch():
    script = "import sys, surm_bench.content; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
