"""The digest of the code: it follows what determines results, and nothing else; and what gets by without torch."""

import re
import shutil
import subprocess
import sys

import pytest

from surm_bench.config import code_digests


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package's sources, which may be edited."""
    copied = tmp_path / "surm_bench"
    shutil.copytree(code_digests.PACKAGE, copied, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    monkeypatch.setattr(code_digests, "PACKAGE", copied)
    return copied


def digest() -> str:
    return code_digests.source_digest.__wrapped__()


def test_a_copy_elsewhere_has_the_same_digest(package):
    assert digest() == code_digests.source_digest()
    (package / "training" / "__pycache__").mkdir(exist_ok=True)
    (package / "training" / "__pycache__" / "loop.cpython-311.pyc").write_bytes(b"x")
    assert digest() == code_digests.source_digest()


@pytest.mark.parametrize(
    "file",
    [
        "training/loop.py",
        "adapters/methods/surm.py",
        "run/build.py",
        "tasks/task_metrics.py",
        "models/architectures/minilm.json",
        "content/images.py",
        "config/trainer.py",
    ],
)
def test_an_edit_of_what_determines_results(package, file):
    before = digest()
    (package / file).write_text((package / file).read_text() + "\n")
    assert digest() != before


# Imported by code that determines results, and without influence on them: the configuration's keys, whose values are in
# ids, records and their files, tables, the hub's access, the system's files and errors, and trackers.
WITHOUT_INFLUENCE = ("config", "errors", "hub", "records", "report", "system", "tracking")


def test_all_code_that_determines_results_is_in_the_digest():
    """Every module of this package that such code imports is in the digest, or has no influence on results."""
    counted = code_digests.DETERMINING
    for file in (file for part in counted for file in code_digests._files(code_digests.PACKAGE / part)):
        imported = re.findall(r"^ *(?:from|import) surm_bench\.?([\w.]*)", file.read_text(), re.MULTILINE)
        rooms = {name.partition(".")[0] for name in imported if file.suffix == ".py"} - {""}
        assert rooms <= {*counted, *WITHOUT_INFLUENCE}, file


def test_a_file_that_comes_or_changes_its_name(package):
    found = {digest()}
    (package / "training" / "more.py").write_text("")
    found.add(digest())
    (package / "training" / "more.py").rename(package / "training" / "other.py")
    found.add(digest())
    assert len(found) == 3


@pytest.mark.parametrize("file", ["records/summary.py", "records/store.py", "report/tables.py", "tracking/__init__.py"])
def test_an_edit_of_what_keeps_or_shows_results(package, file):
    before = digest()
    (package / file).write_text("")
    assert digest() == before


def test_a_method_of_another_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_method.py").write_text("class Config: pass")
    first = code_digests.method_digest("my_method.Config")
    (tmp_path / "my_method.py").write_text("class Config: 1")
    assert len(first) == 12 and code_digests.method_digest("my_method.Config") != first
    for known in ("peft.LoraConfig", "surm_bench.adapters.SurmConfig"):
        assert code_digests.method_digest(known) is None


@pytest.mark.parametrize(
    "modules", ["records, config.identity, config.code_digests", "system.environment, tracking, content"]
)
def test_what_leaves_torch_alone(modules):
    imports = "; ".join(f"import surm_bench.{module}" for module in modules.split(", "))
    code = f"import sys; {imports}; sys.exit(str({{'torch', 'wandb', 'transformers', 'peft'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"
