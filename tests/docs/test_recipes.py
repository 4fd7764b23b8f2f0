"""The recipes of docs/own_*.md, carried out in a copy of the checkout as they stand there.

What a recipe needs beside it, data or weights, the tests make.
"""

import re
import shutil
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import timm
import torch
from safetensors.torch import save_file
from support.recipes import Recipe
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

pytestmark = pytest.mark.slow
CHECKOUT = Path(__file__).parents[2]
COPIED = ("surm_bench", "configs", "tests", "scripts")


@pytest.fixture
def recipe(tmp_path):
    """Makes the recipe of a title, in a copy of what is needed of the checkout."""
    for name in COPIED:
        shutil.copytree(CHECKOUT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    return lambda title: Recipe(section(title), tmp_path)


def section(title: str) -> str:
    """Return the section of these pages that has the title, up to the next heading."""
    pages = [page.read_text() for page in sorted((CHECKOUT / "docs").glob("own_*.md"))]
    (found,) = (page.partition(f"\n## {title}\n")[2] for page in pages if f"\n## {title}\n" in page)
    return found.partition("\n## ")[0]


def test_an_adapter(recipe):
    adapter = recipe("An adapter")
    adapter.follow()
    assert adapter.record().config.adapter.label == "OLoRA r=8"
    files = [
        "tests/adapters/test_counts.py",
        "tests/adapters/test_few_steps.py",
        "tests/config/test_identity.py",
        "tests/adapters/test_configs.py",
    ]
    adapter.tests(*files, "-k 'olora or every_adapter_has or is_there or says_what'")


def test_a_method(recipe):
    method = recipe("A method")
    method.follow()
    files = [
        "tests/adapters/test_adapters.py",
        "tests/adapters/test_counts.py",
        "tests/adapters/test_few_steps.py",
        "tests/config/test_identity.py",
        "tests/config/test_methods.py",
    ]
    method.tests(*files, "-k 'rank_one or every_adapter_has or is_there or has_a_row'")


def test_a_row_beside_the_committed_results(recipe):
    row = recipe("A row beside the committed results")
    (row.tree / "results" / "demo").mkdir(parents=True)
    shutil.copy(CHECKOUT / "results" / "demo" / "records.jsonl", row.tree / "results" / "demo")
    recipe("An adapter").write(recipe("An adapter").blocks[0][1])
    output = row.follow()
    assert "demo, tuning: 324 done, 30 missing, 0 failed of 354 runs" in output
    assert re.search(r"olora +0/10 +0/10 +0/10", output)
    assert "demo, reported: 99 done, 0 missing" in output and "9 of 108 runs wait for their setting" in output


def test_a_structure(recipe):
    structure = recipe("A structure")
    structure.follow()
    structure.tests(
        "tests/structured/test_structured.py tests/adapters/test_counts.py tests/adapters/test_few_steps.py -k hankel"
    )


def test_texts_in_a_csv_file(tmp_path):
    """The recipe needs no checkout: the task is a file of the user's folder."""
    texts = Recipe(section("Texts in a CSV file"), tmp_path)
    texts.follow()
    task = texts.record().config.task
    assert list(task.label_names) == ["bad", "good"] and texts.record().examples == {"reported": 2}


def test_a_task(recipe):
    task = recipe("A task")
    (task.tree / "data" / "paws").mkdir(parents=True)
    rows = {"sentence1": ["A dog ran."] * 40, "sentence2": ["A cat sat."] * 40, "label": [0, 1] * 20}
    for split in ("train", "validation"):
        pyarrow.parquet.write_table(pyarrow.table(rows), task.tree / "data" / "paws" / f"{split}.parquet")
    task.follow()
    assert task.record().examples == {"reported": 40}
    task.tests("tests/tasks/test_tasks.py -k 'paws or is_complete'")


def test_a_metric(recipe):
    metric = recipe("A metric")
    output = metric.follow()
    record = metric.record()
    assert (record.primary_metric, record.greater_is_better) == ("mean_absolute_error", False)
    assert f"mean_absolute_error {record.score:.4f}, " in output
    assert "A lower mean absolute error is better." in output


def test_a_model_of_images(recipe):
    model = recipe("A model of images")
    vit = timm.create_model("deit_tiny_patch16_224")
    save_file(vit.state_dict(), model.tree / "deit_tiny.safetensors")
    model.follow()
    head = 10 * (vit.embed_dim + 1)
    assert model.record().parameters.head == head
    model.tests("tests/models/test_backbone.py -k deit_tiny")


def test_a_model_of_text(recipe):
    model = recipe("A model of text")
    save_bert(model.tree / "checkpoint")
    model.follow()
    assert model.record().parameters.adapter == 2 * 2 * 8 * (32 + 32)  # LoRA r=8 on q and v of two layers
    model.tests("tests/models/test_backbone.py -k minilm_l3")


def save_bert(folder: Path) -> None:
    """A BERT with random weights, and a tokenizer of few words."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 8, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertModel(BertConfig(**sizes, intermediate_size=64)).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "the": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)


def test_what_is_missing_is_told_in_a_line(recipe):
    """The recipes without what they give to the tests."""
    for title in ("An adapter", "A structure", "A model of images"):
        part = recipe(title)
        for kind, block in part.blocks:
            if kind != "bash" and not block.startswith("# tests/"):
                part.write(block)
    wanted = "has_a_count_here or has_committed_losses or hub_models_are_pinned or test_value and hankel"
    files = "tests/adapters/test_counts.py tests/adapters/test_few_steps.py "
    files += "tests/models/test_backbone.py tests/structured/test_structured.py"
    output = part.run(f"! python -m pytest --tb=line {files} -k '{wanted}'")
    for line in (
        "adapter 'hankel' is in one of configs/adapter and CLOSED_FORMS: give its number of parameters",
        "adapter 'hankel' is in one of configs/adapter and few_steps.json: see the head of this file",
        "model 'deit_tiny' has no revision: give the commit of the hub that is meant",
        "structure 'hankel' has no dense oracle: add one to tests/support/oracles.py",
    ):
        assert line in output
