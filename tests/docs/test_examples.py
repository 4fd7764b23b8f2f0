"""The examples of docs/examples and of the README run as they are printed: offline, on models with random weights."""

import re
import runpy
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
EXAMPLES = CHECKOUT / "docs" / "examples"


def main(name: str):
    return runpy.run_path(str(EXAMPLES / name))["main"]


def test_surm_in_a_trainer(tmp_path):
    """Half of the labels are right by chance. The saved adapter, loaded and merged, is what answers."""
    assert main("surm_in_a_trainer.py")(str(tmp_path)) > 0.65
    assert (tmp_path / "adapter_model.safetensors").is_file()


def test_surm_on_timm():
    adapted, merged = main("surm_on_timm.py")()
    assert adapted > 0.9
    assert merged == pytest.approx(adapted, abs=2 / 128)  # of 128 images


def test_surm_on_timm_without_training():
    """Chance, so that the test above can fail."""
    adapted, _ = main("surm_on_timm.py")(steps=0)
    assert adapted < 0.7


def test_the_readme_has_an_example_that_runs(capsys):
    """A circulant delta trains 2d numbers; the model has two layers of width 768, with q and v adapted."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", (CHECKOUT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    exec(code, {})
    assert f"trainable params: {2 * 2 * 2 * 768:,} " in capsys.readouterr().out
