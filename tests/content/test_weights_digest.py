"""Digests of weights against hashes made by hand, equal for what must not matter and different for what must."""

import json
import re
import struct

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file
from support.hashes import by_hand

from surm_bench.content import weights_digest
from surm_bench.errors import UserError
from surm_bench.models import vision
from surm_bench.models.text import HEAD, HEAD_BEHIND_POOLER


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "encoder.b": torch.randn(3, 2),
        "encoder.a": torch.randn(4).to(torch.bfloat16),
        "steps": torch.arange(5),
        "scale": torch.tensor(2.0),
    }


def weights(tmp_path, given: dict[str, torch.Tensor], heads: re.Pattern | None = HEAD, metadata=None) -> str:
    save_file(given, tmp_path / "w.safetensors", metadata)
    return weights_digest(tmp_path / "w.safetensors", heads)


def test_weights_by_hand(tmp_path):
    given = tensors()
    fields = [b"encoder.a", b"BF16 [4]", given["encoder.a"].view(torch.int16).numpy().tobytes()]
    fields += [b"encoder.b", b"F32 [3, 2]", given["encoder.b"].numpy().tobytes()]
    fields += [b"scale", b"F32 []", struct.pack("<f", 2.0)]
    fields += [b"steps", b"I64 [5]", struct.pack("<5q", *range(5))]
    assert weights(tmp_path, given) == by_hand(*fields)


def test_order_and_metadata_do_not_matter(tmp_path):
    expected = weights(tmp_path, tensors())
    assert weights(tmp_path, tensors(), metadata={"format": "pt"}) == expected
    content = (tmp_path / "w.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    body, entries = b"", {}
    for name in ("steps", "encoder.a", "scale", "encoder.b"):  # written by hand in another order
        begin, end = header[name]["data_offsets"]
        entries[name] = {**header[name], "data_offsets": [len(body), len(body) + end - begin]}
        body += data[begin:end]
    text = json.dumps(entries).encode()
    (tmp_path / "w.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)
    assert weights_digest(tmp_path / "w.safetensors") == expected


def test_shards_count_as_one_file(tmp_path):
    expected = weights(tmp_path, tensors())
    folder = tmp_path / "sharded"
    folder.mkdir()
    names = sorted(tensors())
    parts = {"model-1.safetensors": names[2:], "model-2.safetensors": names[:2]}
    for file, part in parts.items():
        save_file({name: tensors()[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weights_digest(folder) == expected
    save_file(tensors(), tmp_path / "model.safetensors")
    assert weights_digest(tmp_path) == expected
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(UserError, match=r"no weights at .*model-2\.safetensors"):
        weights_digest(folder)


@pytest.mark.parametrize(
    ("pattern", "without", "counted"),
    [
        (
            HEAD,
            "classifier.bias classifier.dense.weight bert.pooler.dense.weight lm_head.bias cls.predictions.bias "
            "embeddings.position_ids",
            "embeddings.position_embeddings.weight encoder.layer.0.output.dense.bias classifiers.weight",
        ),
        (
            HEAD_BEHIND_POOLER,
            "classifier.bias lm_head.bias cls.predictions.bias bert.embeddings.position_ids",
            "pooler.dense.weight bert.pooler.dense.bias encoder.layer.0.output.dense.bias",
        ),
        (vision.HEAD, "head.weight head.bias", "cls_token pos_embed norm.weight fc_norm.weight blocks.0.head.weight"),
    ],
)
def test_names_of_heads_by_hand(pattern, without, counted):
    assert all(pattern.search(name) for name in without.split())
    assert not any(pattern.search(name) for name in counted.split())


@pytest.mark.parametrize("prefix", ["bert.", "roberta."])
def test_what_transformers_overlooks_does_not_matter(prefix, tmp_path):
    plain = {"layer.0.LayerNorm.weight": torch.ones(2), "layer.0.LayerNorm.bias": torch.zeros(2)}
    old = {f"{prefix}layer.0.LayerNorm.gamma": torch.ones(2), f"{prefix}layer.0.LayerNorm.beta": torch.zeros(2)}
    head = {f"{prefix}pooler.dense.weight": torch.randn(2, 2), "classifier.bias": torch.randn(2)}
    assert weights(tmp_path, plain) == weights(tmp_path, old) == weights(tmp_path, old | head)
    assert weights(tmp_path, plain | head, heads=None) != weights(tmp_path, plain)


def test_a_real_checkpoint_in_transformers_own_two_forms(tmp_path):
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    whole = BertForSequenceClassification(config)
    whole.save_pretrained(tmp_path / "whole")
    whole.bert.save_pretrained(tmp_path / "encoder")
    assert weights_digest(tmp_path / "whole", HEAD) == weights_digest(tmp_path / "encoder", HEAD)
    BertModel(config).save_pretrained(tmp_path / "other")
    assert weights_digest(tmp_path / "other", HEAD) != weights_digest(tmp_path / "encoder", HEAD)


def test_what_makes_other_weights(tmp_path):
    base = {"a": np.array([1.0, 2.0], np.float32), "b": np.zeros((2, 3), np.float32)}
    bit = base["a"].copy()
    bit.view(np.uint32)[1] ^= 1
    variants = [
        base,
        base | {"a": bit},
        base | {"b": np.zeros((3, 2), np.float32)},
        base | {"b": np.zeros((2, 3), np.int32)},
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"]},
    ]
    digests = []
    for variant in variants:
        save_numpy(variant, tmp_path / "w.safetensors")
        digests.append(weights_digest(tmp_path / "w.safetensors"))
    assert len(set(digests)) == len(variants)


def test_weights_that_are_refused(tmp_path):
    with pytest.raises(UserError, match="no weights at"):
        weights_digest(tmp_path)
    with pytest.raises(UserError, match="has the tensor x twice"):
        weights(tmp_path, {"x": torch.ones(1), "bert.x": torch.ones(1)})
    with pytest.raises(UserError, match="has no tensors except those of a head"):
        weights(tmp_path, {"classifier.bias": torch.ones(1)})
    weights(tmp_path, tensors())
    whole = (tmp_path / "w.safetensors").read_bytes()
    for broken in (b"", whole[:40], whole[:-1], struct.pack("<Q", 2) + b"[]", b"\xff" * 40):
        (tmp_path / "w.safetensors").write_bytes(broken)
        with pytest.raises(UserError, match="not a readable safetensors file"):
            weights_digest(tmp_path / "w.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(UserError, match="not a readable index of shards"):
        weights_digest(tmp_path)
