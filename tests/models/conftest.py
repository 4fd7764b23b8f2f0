import json

import pytest
from support.backbones import TOY, save_toy

from surm_bench.config import ModelConfig
from surm_bench.models import text


@pytest.fixture
def toy(tmp_path, monkeypatch) -> ModelConfig:
    """A RoBERTa of two layers whose architecture is shipped, and a checkpoint folder of it."""
    monkeypatch.setattr(text, "ARCHITECTURES", tmp_path)
    (tmp_path / "toy.json").write_text(json.dumps({"model_type": "roberta", **TOY}))
    return ModelConfig("toy", "text", "hub", "nobody/toy", weights=str(save_toy(tmp_path / "checkpoint")))
