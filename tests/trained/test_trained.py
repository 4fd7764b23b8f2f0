"""What a finished run's model is used for: scored again, asked, exported; and what is refused, in one line."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score
from support.runs import DIGITS, GRAMMAR, SIMILARITY, folder_of, start
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from surm_bench import records
from surm_bench.command.errors import exit_code
from surm_bench.command.main import command
from surm_bench.config import ModelConfig
from surm_bench.errors import UserError
from surm_bench.records import Record
from surm_bench.run.loading import evaluate as score
from surm_bench.run.loading import load_model, load_run
from surm_bench.statistics.of_one_run import example_interval
from surm_bench.system.atomic import atomic_folder
from surm_bench.tasks.embedded import grammar
from surm_bench.trained.export import merge

TRAINED = ["trainer.max_steps=20", "optimizer.lr=0.02", "optimizer.warmup_ratio=0"]  # far enough to be seen
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
PAGE = Path(__file__).parents[2] / "docs" / "using_what_was_trained.md"
PAIRS = ["model=roberta_tiny", "task=grammar/paraphrase"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def images(folder):
    return folder_of(folder, start(folder, *DIGITS, *TRAINED, "adapter=circulant"))


@pytest.fixture(scope="module")
def texts(folder):
    names = "task.label_names=[other, same]"
    return folder_of(folder, start(folder, *PAIRS, *TRAINED, "adapter=lora", "task.validation=holdout", names))


@pytest.fixture(scope="module")
def values(folder):
    return folder_of(folder, start(folder, *SIMILARITY, *TRAINED, "adapter=symmetric_toeplitz"))


def record_of(run: Path) -> Record:
    return records.read_file(run / "record.json")


def refused(arguments: list, capsys) -> str:
    """The one line that a command ends with."""
    assert exit_code(command, [str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    return said.err


def answers(model: torch.nn.Module, **inputs) -> np.ndarray:
    with torch.no_grad():
        found = model.eval()(**inputs)
    return (found.logits if hasattr(found, "logits") else found).numpy()


def changes_something(model, **inputs) -> bool:
    """Whether the adapter is far enough from zero for a wrong merge to be seen."""
    adapted = answers(model, **inputs)
    with model.disable_adapter():
        return np.abs(answers(model, **inputs) - adapted).max() > 0.05


# Scores


def test_a_run_scored_again_has_the_scores_of_its_record(texts, capsys):
    assert command(["evaluate", str(texts)]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = [
        f"{split:<12} {metric:<22} {score:.4f}  (record: {score:.4f})"
        for split, scores in record_of(texts).scores.items()
        for metric, score in scores["last"].items()
    ]
    assert len(expected) == 4 and lines == expected


def test_other_rows_are_scored_and_no_record_is_beside_them(images, capsys):
    """All 332 test images instead of 60 of them; the score is the model's own, by scikit-learn."""
    assert command(["evaluate", str(images), "task.max_eval_samples=null"]) == 0
    out = capsys.readouterr().out
    model, _, config = load_run(images)
    _, data, _ = load_run(images, config.having(task={"max_eval_samples": None}))
    examples = [data.splits["reported"][i] for i in range(len(data.splits["reported"]))]
    assert len(examples) > 32
    chosen = answers(model, x=torch.stack([e["x"] for e in examples])).argmax(-1)
    score = accuracy_score([e["labels"] for e in examples], chosen)
    assert out == f"{'reported':<12} {'accuracy':<22} {score:.4f}\n"


def test_another_task_and_another_place(texts, tmp_path, capsys):
    assert command(["evaluate", str(texts), "task=grammar/entailment", "task.max_eval_samples=40"]) == 0
    assert "record" not in capsys.readouterr().out
    rows = grammar.load("paraphrase")
    (tmp_path / "paraphrase").mkdir()
    for split in ("train", "validation"):
        rows[split].to_parquet(tmp_path / "paraphrase" / f"{split}.parquet")
    assert command(["evaluate", str(texts), f"task.data_dir={tmp_path}"]) == 0
    f1 = record_of(texts).scores["reported"]["last"]["f1"]
    assert f"{f1:.4f}  (record: {f1:.4f})" in capsys.readouterr().out  # the same rows, read elsewhere


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task=digits"], "task digits has kind 'image', but the run was trained with 'text'"),
        (["task=grammar/similarity"], "task grammar/similarity has num_labels 1, but the run was trained with 2"),
        (["task=nothing"], "unknown task 'nothing': choose from digits"),
        (["seed=3"], "'seed=3' cannot be changed after training: give task=NAME"),
        (["trainer.epochs=3"], "'trainer.epochs=3' cannot be changed"),
        (["task.nothing=3"], "nothing"),
        (["task.primary_metric=f2"], "unknown task.primary_metric 'f2'"),
        (["task.data_dir=/nowhere"], "task.data_dir=/nowhere lacks"),
        (["trainer.eval_batch_size=0"], "trainer.eval_batch_size=0 is not possible"),
    ],
)
def test_what_cannot_be_scored_is_refused(texts, overrides, message, capsys):
    assert message in refused(["evaluate", texts, *overrides], capsys)


def test_logits_that_are_not_finite_have_no_score(texts):
    model, data, config = load_run(texts)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(UserError, match="the model's logits of 32 of 32 examples are not finite: score with trainer"):
        score(model, data, config)


# Predictions


def test_probabilities_of_texts_are_the_softmax_of_the_model_in_the_order_of_the_file(texts, tmp_path, capsys):
    rows = grammar.load("paraphrase")["validation"].select(range(7))
    frame = pd.DataFrame({name: rows[name] for name in ("sentence1", "sentence2")})
    model, backbone, _ = load_model(texts)
    expected = []
    for first, second in frame.itertuples(index=False):  # each by itself, without padding
        logits = torch.from_numpy(answers(model, **backbone.processor(first, second, return_tensors="pt")))
        expected.append(logits.softmax(-1)[0].numpy())
    frame.to_csv(tmp_path / "in.csv")
    frame.to_parquet(tmp_path / "in.parquet")
    frame.to_json(tmp_path / "in.jsonl", orient="records", lines=True)
    for suffix in ("csv", "parquet", "jsonl"):
        out = tmp_path / f"out_{suffix}.csv"
        assert command(["predict", str(texts), str(tmp_path / f"in.{suffix}"), "--out", str(out)]) == 0
        found = pd.read_csv(out)
        assert list(found.columns) == ["row", "prediction", "label", "probability_0", "probability_1"]
        assert found["row"].tolist() == list(range(7))
        np.testing.assert_allclose(found.iloc[:, 3:], expected, atol=1e-5)
        assert found["prediction"].tolist() == np.argmax(expected, -1).tolist()
        assert found["label"].tolist() == [["other", "same"][number] for number in found["prediction"]]
    assert np.std(expected, 0).max() > 1e-3  # another order would be seen
    assert "7 predictions in" in capsys.readouterr().out


def test_blank_lines_keep_their_place(texts, tmp_path, capsys):
    one, two = "A dog .,A cat .", '"The cat\nsleeps .",A dog .'
    (tmp_path / "in.csv").write_text(f"sentence1,sentence2\n{one}\n\n{two}\n\n\n{one}\n\n")
    lines = [
        json.dumps({"sentence1": "A dog .", "sentence2": "A cat ."}),
        "",
        json.dumps({"sentence1": "a", "sentence2": "b"}),
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    for name, places in (("in.csv", [0, 2, 5]), ("in.jsonl", [0, 2])):
        assert command(["predict", str(texts), str(tmp_path / name), "--out", str(tmp_path / "out.csv")]) == 0
        assert pd.read_csv(tmp_path / "out.csv")["row"].tolist() == places


def test_values_of_a_regression(values, tmp_path, capsys):
    """Those that the run itself wrote for the same rows."""
    known = pd.read_parquet(values / "predictions.parquet").head(5)
    rows = grammar.load("similarity")["validation"].select(known["row"])
    pd.DataFrame({name: rows[name] for name in ("sentence1", "sentence2")}).to_parquet(tmp_path / "in.parquet")
    assert command(["predict", str(values), str(tmp_path / "in.parquet"), "--out", str(tmp_path / "out.csv")]) == 0
    found = pd.read_csv(tmp_path / "out.csv")
    assert list(found.columns) == ["row", "prediction"]
    np.testing.assert_allclose(found["prediction"], known["prediction"], atol=1e-4)


def test_images_of_a_folder_and_one_by_itself(images, tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name in ("b.png", "a.png", "deep/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(256, size=(8, 8), dtype=np.uint8)).save(tmp_path / name)
    assert command(["predict", str(images), str(tmp_path), "--out", str(tmp_path / "out.csv")]) == 0
    found = pd.read_csv(tmp_path / "out.csv")
    assert found["file"].tolist() == ["a.png", "b.png", "deep/c.png"]
    model, backbone, _ = load_model(images)
    x = torch.stack([backbone.processor(Image.open(tmp_path / name)) for name in found["file"]])
    expected = torch.from_numpy(answers(model, x=x)).softmax(-1).numpy()
    np.testing.assert_allclose(found.iloc[:, 2:], expected, atol=1e-6)
    capsys.readouterr()
    assert command(["predict", str(images), str(tmp_path / "deep" / "c.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("file,prediction,probability_0,")
    assert lines[1].startswith(f"c.png,{expected[2].argmax()},")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.csv", "sentence1\nA dog .\n", "no column sentence2; it has sentence1"),
        ("in.csv", "sentence1,sentence2\n", "no rows"),
        ("in.csv", "", "in.csv is empty: the first line must name the columns"),
        (
            "in.csv",
            "sentence1,sentence2\n1,A dog .,A cat .\n",
            "in.csv, line 2 has 3 fields, but the header has 2 columns",
        ),
        (
            "in.jsonl",
            '{"sentence1": "A", "sentence2": null}\n',
            "column sentence2 has missing values, the first in row 0",
        ),
        ("in.jsonl", "{\n", "in.jsonl, line 1 is not a JSON object"),
        ("in.parquet", "no parquet", "in.parquet is not a readable parquet file"),
        ("in.txt", "A dog .\n", "needs a file that ends in .parquet, .csv, .tsv, .jsonl"),
        ("other", None, "does not exist: name a file"),
    ],
)
def test_inputs_that_are_refused(texts, name, content, message, tmp_path, capsys):
    if content is not None:
        (tmp_path / name).write_text(content)
    out = tmp_path / "out.csv"
    assert message in refused(["predict", texts, tmp_path / name, "--out", out], capsys)
    assert not out.exists()


def test_predictions_do_not_replace_their_input(texts, tmp_path, capsys):
    content = "sentence1,sentence2\na,b\n"
    (tmp_path / "in.csv").write_text(content)
    (tmp_path / "link.csv").symlink_to("in.csv")
    for out in ("in.csv", "link.csv"):
        line = refused(["predict", texts, tmp_path / "in.csv", "--out", tmp_path / out], capsys)
        assert "is the input, which would be overwritten: name another file" in line
    assert (tmp_path / "in.csv").read_text() == content


def test_classes_in_another_order_are_not_scored_as_they_stand(texts, capsys):
    line = refused(["evaluate", texts, "task.label_names=[same,other]"], capsys)
    assert "but the run orders them other, same: give task.label_names=[other,same]" in line


def test_deep_images_are_asked_as_their_8_bits(images, tmp_path, capsys):
    greys = np.random.default_rng(0).integers(256, size=(8, 8), dtype=np.uint8)
    for name, values in (("a.png", greys), ("b.png", greys.astype(np.uint16) * 257), ("c.jfif", greys)):
        Image.fromarray(values).save(tmp_path / name, "PNG" if name.endswith("png") else "JPEG")
    assert command(["predict", str(images), str(tmp_path), "--out", str(tmp_path / "out.csv")]) == 0
    found = pd.read_csv(tmp_path / "out.csv")
    assert found["file"].tolist() == ["a.png", "b.png", "c.jfif"]
    np.testing.assert_array_equal(found.iloc[0, 1:].astype(float), found.iloc[1, 1:].astype(float))


def test_images_that_are_refused(images, tmp_path, capsys):
    assert "contains no images" in refused(["predict", images, tmp_path], capsys)
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert "is not a readable image" in refused(["predict", images, tmp_path], capsys)
    assert "is a folder: name a file" in refused(["predict", images, tmp_path, "--out", tmp_path], capsys)


# Export


def test_merged_texts_load_in_transformers_with_the_same_logits(texts, tmp_path, capsys):
    assert command(["export", str(texts), str(tmp_path / "out")]) == 0
    model, backbone, _ = load_model(texts)
    merged, loading = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    pair = ["The dog sees a cat .", "a small cat sleeps ."], ["The cat .", "a dog ."]
    inputs = tokenizer(*pair, padding=True, return_tensors="pt")
    assert inputs["input_ids"].tolist() == backbone.processor(*pair, padding=True)["input_ids"]
    assert changes_something(model, **inputs)
    np.testing.assert_allclose(answers(merged, **inputs), answers(model, **inputs), atol=1e-4)
    assert merged.config.id2label == {0: "other", 1: "same"} and merged.config.label2id == {"other": 0, "same": 1}
    assert not list((tmp_path / "out").glob("*.bin"))
    assert str(Path.cwd()) not in "".join(file.read_text() for file in (tmp_path / "out").glob("*config.json"))


@pytest.mark.parametrize("size", [None, 16])
def test_merged_images_load_in_timm_with_the_same_logits(images, size, folder, tmp_path, capsys):
    run = images
    if size:  # position embeddings of another size, and another crop
        names = f"task.label_names=[{','.join(NAMES)}]"
        other = [f"model.image_size={size}", "model.crop_pct=0.5", "model.crop_mode=squash", "model.mean=[0.2]", names]
        run = folder_of(folder, start(folder, *DIGITS, *TRAINED, *other, "adapter=circulant"))
    assert command(["export", str(run), str(tmp_path / "out")]) == 0
    model, backbone, _ = load_model(run)
    merged = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)
    keys = set(load_file(tmp_path / "out" / "model.safetensors"))
    assert keys == set(merged.state_dict()) and "blocks.0.attn.qkv.weight" in keys
    picture = Image.fromarray(np.random.default_rng(0).integers(256, size=(20, 30), dtype=np.uint8))
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(merged), is_training=False)
    torch.testing.assert_close(transform(picture), backbone.processor(picture), atol=1e-5, rtol=0)
    assert merged.pretrained_cfg.get("label_names") == (NAMES if size else None)
    x = torch.randn(3, 1, size or 8, size or 8)
    assert changes_something(model, x=x)
    np.testing.assert_allclose(answers(merged, x=x), answers(model, x=x), atol=1e-4)


def printed(page: Path, folder: str, library: str, capsys) -> str:
    """Return what a page's code with a name of the library prints for an exported folder."""
    (code,) = (code for code in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S) if library in code)
    capsys.readouterr()
    exec(code.replace("FOLDER", folder), {})
    return capsys.readouterr().out.strip()


@pytest.mark.parametrize("by", ["card", "page"])
def test_the_code_for_texts_predicts(by, texts, tmp_path, monkeypatch, capsys):
    """With the code of the card and that of the page; the run is one of pairs, and the card's code has a pair."""
    monkeypatch.chdir(tmp_path)
    assert command(["export", str(texts), "folder"]) == 0
    pages = {"card": Path("folder/README.md"), "page": PAGE}
    said = printed(pages[by], "folder", "AutoTokenizer", capsys)
    if by == "page":
        assert said in ("other", "same")
        return
    Path("rows.csv").write_text("sentence1,sentence2\nA text.,Another text.\n")
    assert command(["predict", str(texts), "rows.csv", "--out", "out.csv"]) == 0
    assert said == pd.read_csv("out.csv")["label"][0]


def test_the_code_for_texts_cuts_them_at_the_positions_of_the_model(folder, tmp_path, monkeypatch, capsys):
    run = folder_of(folder, start(folder, *SIMILARITY, "adapter=lora", "task.max_length=1000"))
    monkeypatch.chdir(tmp_path)
    assert command(["export", str(run), "folder"]) == 0
    Path("long.md").write_text(Path("folder/README.md").read_text().replace("A text.", "a dog " * 500))
    assert np.isfinite(float(printed(Path("long.md"), "folder", "AutoTokenizer", capsys)))


@pytest.mark.parametrize("by", ["card", "page"])
def test_the_code_for_images_predicts(by, folder, tmp_path, monkeypatch, capsys):
    names = f"task.label_names=[{','.join(NAMES)}]"
    run = folder_of(folder, start(folder, *DIGITS, *TRAINED, "adapter=circulant", "model.crop_pct=0.5", names))
    monkeypatch.chdir(tmp_path)
    model, backbone, _ = load_model(run)

    def number(image: Image.Image) -> int:
        return answers(model, x=backbone.processor(image)[None]).argmax()

    rng, exif = np.random.default_rng(0), Image.Exif()
    pictures = (Image.fromarray(rng.integers(256, size=(20, 30), dtype=np.uint8)) for _ in range(100))
    picture = next(p for p in pictures if number(p) != number(p.transpose(Image.Transpose.ROTATE_270)))
    exif[274] = 6  # the orientation: to be turned by 270 degrees
    picture.save("image.png", exif=exif)
    assert command(["export", str(run), "folder"]) == 0
    assert command(["predict", str(run), "image.png", "--out", "out.csv"]) == 0
    pages = {"card": Path("folder/README.md"), "page": PAGE}
    said = printed(pages[by], "folder", "create_transform", capsys)
    assert said == pd.read_csv("out.csv")["label"][0]


def test_the_code_for_a_regression_and_for_classes_without_names(images, values, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save("image.png")
    assert command(["export", str(images), "images"]) == command(["export", str(values), "values"]) == 0
    assert printed(Path("images/README.md"), "images", "timm", capsys) in map(str, range(10))
    float(printed(Path("values/README.md"), "values", "transformers", capsys))


@pytest.mark.parametrize("adapter", ["adapter_circulant", "prefix"])
def test_what_cannot_be_merged_says_so_and_writes_nothing(adapter, folder, tmp_path, capsys):
    run = folder_of(folder, start(folder, *GRAMMAR, f"adapter={adapter}"))
    assert refused(["export", run, tmp_path / "out"], capsys).endswith("export it with --adapter\n")
    assert not list(tmp_path.iterdir())
    assert command(["export", str(run), str(tmp_path / "out"), "--adapter"]) == 0
    assert "adapter_model.safetensors" in {file.name for file in (tmp_path / "out").iterdir()}


def test_a_merge_that_changes_answers_is_refused(images):
    model, _, _ = load_model(images)
    layer = next(module for module in model.modules() if hasattr(module, "get_delta_weight"))
    layer.merge = lambda **_: None  # as of a method whose merge is wrong
    with pytest.raises(UserError, match="Circulant cannot be merged .*merging changes the logits by"):
        merge(model, {"x": torch.randn(2, 1, 8, 8)}, "Circulant")


def test_an_exported_adapter_is_the_saved_one_without_the_path_of_its_base(texts, tmp_path, capsys):
    assert command(["export", str(texts), str(tmp_path / "out"), "--adapter"]) == 0
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        saved, exported = (texts / "adapter" / name).read_bytes(), (tmp_path / "out" / name).read_bytes()
        if name.endswith("json"):
            saved, exported = (json.loads(text) | {"base_model_name_or_path": None} for text in (saved, exported))
            base = json.loads((tmp_path / "out" / name).read_text())["base_model_name_or_path"]
            assert base == f"roberta_tiny@{record_of(texts).config.model.digest}"
        assert saved == exported


def test_a_model_card_has_the_records_numbers_and_no_others(images, tmp_path, capsys):
    from huggingface_hub import ModelCard

    assert command(["export", str(images), str(tmp_path / "out"), "--adapter"]) == 0
    record, card = record_of(images), ModelCard.load(tmp_path / "out" / "README.md")
    score = record.scores["reported"]["last"]["accuracy"]
    low, high = binomtest(round(32 * score), 32).proportion_ci(0.95, "wilson")
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", score)
    assert (result.task_type, result.dataset_name, result.dataset_split) == ("image-classification", "digits", "test")
    assert f"95 % interval over test examples {low:.4f} to {high:.4f}" in result.metric_name
    assert card.data.library_name == "peft" and card.data.license is None and card.data.base_model is None
    for said in (record.run_id, "1,024", "512", record.environment.git_commit, f"{score:.4f}"):
        assert said in card.text
    yaml.safe_load(card.content.split("---")[1])


def test_without_predictions_a_card_has_no_interval(images, tmp_path, capsys):
    run = tmp_path / "runs" / images.name
    shutil.copytree(images, run)
    (run / "predictions.parquet").unlink()
    assert command(["export", str(run), str(tmp_path / "out"), "--adapter"]) == 0
    assert "interval" not in (tmp_path / "out" / "README.md").read_text()


def test_the_base_model_of_the_hub_is_named(images):
    from surm_bench.trained.model_card import base_model, model_card

    record = record_of(images)
    hub = {"source": "hub", "checkpoint": "vit_tiny_patch16_224.augreg_in21k_ft_in1k", "revision": "a" * 40}
    record = record.having(config=record.config.having(model=hub))
    name = "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    assert base_model(record.config.model) == name
    card = model_card(record, images, "peft")
    assert f"base_model: {name}\n" in card and "base_model_relation: adapter\n" in card
    assert "split_qkv(base)" in card and f"{{'hf_hub_id': '{name}@{'a' * 40}'}}" in card
    hub = {"family": "text", "checkpoint": "FacebookAI/roberta-base"}
    record = record.having(config=record.config.having(model=hub))
    assert f"from_pretrained('FacebookAI/roberta-base', num_labels=10, revision='{'a' * 40}')" in model_card(
        record, images, "peft"
    )
    text = ModelConfig(source="hub", family="text", checkpoint="FacebookAI/roberta-base")
    assert base_model(text) == "FacebookAI/roberta-base"
    local = replace(text, name="roberta_base", weights="folder", digest="0123")
    assert base_model(local) is None  # other weights than the hub's, as far as is known


def test_local_rows_are_not_called_the_hubs(images, tmp_path):
    """Unless the digest that the task's own file declares is theirs; no task of the package declares one."""
    from surm_bench.trained.model_card import model_card

    hub = {"name": "images/cifar10", "source": "hub", "dataset": "uoft-cs/cifar10", "revision": "b" * 40}
    record = record_of(images)
    record = record.having(config=record.config.having(task=hub))
    for data_dir, named in ((None, True), ("pictures", False)):
        places = {"task": {"data_dir": data_dir}, "model": {"weights": None}}
        (tmp_path / "places.json").write_text(json.dumps(places))
        assert ("uoft-cs/cifar10" in model_card(record, tmp_path, "peft")) == named
        assert ("b" * 40 in model_card(record, tmp_path, "peft")) == named


@pytest.mark.parametrize("name", ["full", "afile"])
def test_a_folder_that_holds_something_is_refused(images, name, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    for file in ("full/mine", "afile"):
        (tmp_path / file).write_text("mine")
    assert "name a new or an empty folder" in refused(["export", images, tmp_path / name], capsys)


def test_a_folder_is_written_whole_or_not_at_all(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "out") as temporary:
        (temporary / "half").write_text("half")
        1 / 0  # noqa: B018
    assert not list(tmp_path.iterdir())


# Runs that have nothing to use


def test_an_absent_adapter_is_never_trained_again_in_silence(images, tmp_path, capsys):
    run = tmp_path / "runs" / images.name
    shutil.copytree(images, run)
    shutil.rmtree(run / "adapter")
    given = {"evaluate": [], "predict": [tmp_path], "export": [tmp_path / "out"]}
    for name, others in given.items():
        said = refused([name, run, *others], capsys)
        assert f"the adapter of run {run.name} is not in {run}: run it again with rerun=true" in said
    assert not (run / "adapter").exists()


def test_the_line_has_the_command_of_the_record_and_where_data_was(tmp_path, capsys):
    short = ["trainer.max_steps=1", "trainer.progress=false", "task.max_train_samples=20", "task.max_eval_samples=20"]
    given = [*DIGITS, *short, "trainer.save_adapter=false", f"results_dir={tmp_path}"]
    assert command(["run", *given]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    capsys.readouterr()
    line = refused(["evaluate", run], capsys).strip()
    again = line.partition("train it again with: python -m surm_bench ")[2].split()
    assert again[-3:] == [f"results_dir={tmp_path}", "trainer.save_adapter=true", "rerun=true"]
    assert command(["run", *again]) == 0  # the line is to be trusted
    assert command(["evaluate", str(run)]) == 0


def test_a_folder_without_a_run(tmp_path, capsys):
    assert "there is no run in" in refused(["evaluate", tmp_path / "runs" / "abc"], capsys)


# Intervals


def test_the_interval_of_a_score_over_examples():
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=400)
    predictions = np.where(rng.random(400) < 0.8, labels, 1 - labels)
    score = (labels == predictions).mean()
    wilson = example_interval(labels, predictions, "accuracy")
    np.testing.assert_allclose(wilson, binomtest(int(400 * score), 400).proportion_ci(method="wilson"), atol=1e-12)
    low, high = example_interval(labels, predictions, "matthews_correlation")
    phi = np.corrcoef(labels, predictions)[0, 1]
    assert low < phi < high
    balanced = np.sqrt((1 - phi**2) / 400)  # with classes and errors in balance the correlation is 2 · accuracy − 1
    assert high - low == pytest.approx(2 * 1.96 * balanced, rel=0.1)
