"""What is read from the hub: models and data sets of tiny sizes from a hub on this machine, and what may go wrong."""

import hashlib
import json
import logging
import os
import re
import shutil
import time
from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace

import datasets
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from huggingface_hub import constants, file_download, hf_file_system
from huggingface_hub.utils import _http
from safetensors.torch import load, save
from support.hub_server import SECRET, Hub, breaks_off, commit_of, flipped, hangs, says, spoils, status
from support.runs import start
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from surm_bench import hub
from surm_bench.config import Config, ModelConfig, TaskConfig, composition
from surm_bench.errors import UserError
from surm_bench.hub import reach, waiting
from surm_bench.models import build_backbone, text
from surm_bench.models.digest import model_digest
from surm_bench.tasks.sources import read_splits

TOY = {"vocab_size": 12, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
TOY |= {"max_position_embeddings": 20, "type_vocab_size": 1, "pad_token_id": 1}
ROWS = {"train": ["good .", "bad ."], "validation": ["fine ."]}
LABELS = {"train": [1, 0], "validation": [1]}
MODEL, DATA = "me/toy", "me/rows"
WEIGHTS, TOKENIZER, SETTINGS = "model.safetensors", "tokenizer.json", "tokenizer_config.json"


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> dict[str, bytes]:
    """The files of a small RoBERTa."""
    folder = tmp_path_factory.mktemp("toy")
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(AutoConfig.for_model("roberta", **TOY)).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "good": 4}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def rows(subset: str = "one", texts: dict[str, list[str]] = ROWS) -> dict[str, bytes]:
    """The files of a data set as the hub's converter names them, with a card."""
    files, features = {}, Features({"sentence": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    for split, sentences in texts.items():
        buffer = BytesIO()
        Dataset.from_dict({"sentence": sentences, "label": LABELS[split]}, features=features).to_parquet(buffer)
        files[f"{subset}/{split}-00000-of-00001.parquet"] = buffer.getvalue()
    data = [f"  - split: {split}\n    path: {subset}/{split}-*" for split in texts]
    card = f"---\nconfigs:\n- config_name: {subset}\n  data_files:\n" + "\n".join(data) + "\n---\n"
    return files | {"README.md": card.encode()}


@pytest.fixture
def served(tmp_path, monkeypatch, toy):
    """The hub with the model and the data set; its libraries ask there and keep what they get below tmp_path."""
    made = Hub()
    made.add("model", MODEL, toy)
    made.add("dataset", DATA, rows())
    (tmp_path / "toy.json").write_text(json.dumps({"model_type": "roberta", **TOY}))
    monkeypatch.setattr(text, "ARCHITECTURES", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    for module in (_http, file_download):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=time.time, sleep=lambda _: None))  # between retries
    with made.serving() as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(datasets.config, "HF_ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        reach.forget()
        yield made
        reach.forget()
        hf_file_system.HfFileSystem.clear_instance_cache()


def model(**changes) -> ModelConfig:
    return replace(ModelConfig("toy", "text", "hub", MODEL, commit_of(MODEL)), **changes)


def task(**changes) -> TaskConfig:
    config = TaskConfig(
        name="rows", kind="text", source="hub", dataset=DATA, subset="one", revision=commit_of(DATA),
        eval_split="validation", inputs=["sentence"], num_labels=2, metric="accuracy", primary_metric="accuracy",
    )  # fmt: skip
    return replace(config, **changes)


def sentences(config: TaskConfig | None = None) -> list[list[str]]:
    return [list(split.dataset["sentence"]) for split in read_splits(config or task())]


def refused(read, *arguments) -> str:
    """The one line that is said, without a signed address."""
    with pytest.raises(UserError) as error:
        read(*arguments)
    said = str(error.value)
    assert "\n" not in said and SECRET not in said
    return said


# --- all is well ------------------------------------------------------------------------------------------------------


def test_a_text_model(served, toy):
    built = build_backbone(model(), 2)
    expected = load(toy[WEIGHTS])["roberta.embeddings.word_embeddings.weight"]
    assert torch.equal(built.module.roberta.embeddings.word_embeddings.weight, expected)
    assert built.processor("good")["input_ids"] == [4]
    got = {re.sub(r"\?.*", "", line).rpartition("/")[2] for line in served.requests if line.startswith("GET")}
    assert {"config.json", "adapter_config.json"}.isdisjoint(got)  # nothing that is not used


def test_a_download_is_one_line(served, monkeypatch, capsys):
    monkeypatch.setattr(waiting, "SHOWN_BYTES", 1)
    model_digest(model())
    assert capsys.readouterr().err == f"downloading {MODEL} from the Hugging Face hub, 0.0 MB\n"
    model_digest(model())
    assert capsys.readouterr().err == ""


def test_an_image_model(served):
    import timm

    name = "test_vit.r160_in1k"
    weights = timm.create_model("test_vit").state_dict()
    config = ModelConfig(
        "test_vit", "vision", "hub", name, served.add("model", f"timm/{name}", {WEIGHTS: save(weights)})
    )
    assert torch.equal(build_backbone(config, 2).module.cls_token, weights["cls_token"])


def test_a_data_set(served):
    assert sentences() == list(ROWS.values())
    assert sentences(task(eval_split="train[1:]+validation")) == [ROWS["train"], ["bad .", "fine ."]]
    assert read_splits(task())[0].dataset.features["label"].names == ["no", "yes"]


def test_what_is_cached_asks_nothing(served, tmp_path):
    """Nor does it write: the cache may be read-only."""
    build_backbone(model(), 2), sentences()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    served.requests.clear()
    served.faults[""] = breaks_off
    reach.forget()
    build_backbone(model(), 2), sentences()
    assert served.requests == []
    assert kept == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}


def test_a_branch_is_asked_for_and_kept_for_times_without_a_hub(served, toy):
    assert sentences(task(revision=None)) == list(ROWS.values())
    served.add("dataset", DATA, rows(texts=ROWS | {"train": ["other .", "rows ."]}))
    assert sentences(task(revision=None))[0] == ["other .", "rows ."]
    served.faults[""] = breaks_off
    reach.forget()
    assert sentences(task(revision="main"))[0] == ["other .", "rows ."]
    assert sentences()[0] == ROWS["train"]


def test_prepared_rows_are_enough_without_a_hub(served, tmp_path):
    """Also where the name has capitals, which `datasets` writes in another way."""
    named = task(dataset="me/MovieReviews", revision=served.add("dataset", "me/MovieReviews", rows()))
    assert sentences(named) == list(ROWS.values())
    shutil.rmtree(tmp_path / "hub")
    served.faults[""] = breaks_off
    reach.forget()
    hub.check_reach(Config(task=named, model=model(weights="here")))
    assert sentences(named) == list(ROWS.values())


def test_a_plan_downloads_nothing(served):
    with hub.downloads(allowed=False):
        assert "is not in the local cache of the hub: the first run downloads it" in refused(model_digest, model())
    assert served.requests == []


# --- another revision than the pinned one -----------------------------------------------------------------------------

STUMBLES = {
    "closed": breaks_off,
    "503": status(503),
    "401": status(401, "RepoNotFound"),
    "404": status(404),
    "no JSON": says(b"<html>Please log in</html>"),
    "another JSON": says(b"[]"),
}


@pytest.mark.parametrize(("fault", "offline"), [("closed", True), *((fault, False) for fault in STUMBLES)])
def test_another_revision_is_never_taken_for_the_pinned_one(fault, offline, served, monkeypatch):
    """`datasets` itself takes the one it has prepared last."""
    served.add("dataset", DATA, rows(texts=ROWS | {"train": ["other .", "rows ."]}))
    assert sentences(task(revision=commit_of(DATA, 1)))[0] == ["other .", "rows ."]
    served.faults["api|resolve"] = STUMBLES[fault]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    reach.forget()
    said = refused(sentences)
    assert f"{DATA} at revision {commit_of(DATA)}" in said
    assert not offline or "out of reach" in said


# --- what arrives is not what the hub has -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [WEIGHTS, TOKENIZER, SETTINGS])
def test_a_flipped_byte_on_the_way(name, served, toy, tmp_path):
    digest = hashlib.sha256(toy[name]).hexdigest()
    served.faults[f"GET .*(blob/{digest}|resolve.*{name})"] = spoils(flipped)
    assert f"{name} of {MODEL} at revision {commit_of(MODEL)} arrived damaged" in refused(model_digest, model())
    assert not list(tmp_path.glob(f"hub/*/snapshots/*/{name}"))  # what is damaged is not kept
    served.faults.clear()
    model_digest(model())


def test_a_flipped_byte_in_the_cache(served, tmp_path):
    model_digest(model())
    (link,) = tmp_path.glob(f"hub/*/snapshots/*/{WEIGHTS}")
    link.resolve().write_bytes(flipped(link.read_bytes()))
    said = refused(model_digest, model())
    assert f"{WEIGHTS} of {MODEL}" in said and f"delete {link.resolve()} and run again" in said
    link.resolve().unlink()
    model_digest(model())


def test_rows_with_a_flipped_byte(served):
    served.faults["GET /blob"] = spoils(flipped)
    assert "arrived damaged" in refused(sentences)
    served.faults.clear()
    assert sentences() == list(ROWS.values())


def test_a_file_that_ends_too_early(served):
    served.faults["GET /blob"] = spoils(lambda content: content[:-9])
    assert f"{MODEL} at revision" in refused(model_digest, model())


# --- a tokenizer is all its files -------------------------------------------------------------------------------------


def test_a_tokenizers_settings_are_not_dropped(served):
    served.faults[f"(GET|HEAD) .*{SETTINGS}"] = status(500)
    assert f"{MODEL} at revision" in refused(model_digest, model())


@pytest.mark.parametrize(
    "setting", [{"model_max_length": 7}, {"add_prefix_space": True}, {"extra_special_tokens": ["x"]}]
)
def test_a_tokenizers_settings_are_in_the_digest(setting, served, toy):
    other = json.dumps(json.loads(toy[SETTINGS]) | setting).encode()
    changed = served.add("model", MODEL, toy | {SETTINGS: other})
    one, two = model_digest(model()).split("-"), model_digest(model(revision=changed)).split("-")
    assert one[0] == two[0] and one[1] != two[1]


def test_an_adapter_config_leads_nowhere_else(served, toy):
    """transformers follows its base_model_name_or_path."""
    other = {name: tensor + 1 for name, tensor in load(toy[WEIGHTS]).items()}
    served.add("model", "me/other", toy | {WEIGHTS: save(other, metadata={"format": "pt"})})
    adapter = json.dumps({"peft_type": "LORA", "base_model_name_or_path": "me/other"}).encode()
    revision = served.add("model", MODEL, toy | {"adapter_config.json": adapter})
    built = build_backbone(model(revision=revision), 2).module
    expected = load(toy[WEIGHTS])["roberta.embeddings.word_embeddings.weight"]
    assert torch.equal(built.roberta.embeddings.word_embeddings.weight, expected)
    assert not hasattr(built, "peft_config") and not any("me/other" in line for line in served.requests)


def test_an_adapter_config_in_a_local_folder(served, toy, tmp_path):
    for name, content in toy.items():
        (tmp_path / "local" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "local" / name).write_bytes(content)
    (tmp_path / "local" / "adapter_config.json").write_text(
        '{"peft_type": "LORA", "base_model_name_or_path": "me/other"}'
    )
    build_backbone(model(weights=str(tmp_path / "local")), 2)
    assert served.requests == []


# --- what is wrong, and what to do ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (status(401, "RepoNotFound"), "check its name, or log in with `hf auth login`"),
        (status(401, "GatedRepo"), "ask for access on its page"),
        (status(404, "RevisionNotFound"), "this revision does not exist"),
        (
            status(401, None, {"X-Error-Message": "Invalid credentials in Authorization header"}),
            "the token is not valid",
        ),
        (status(403), "this account may not read it"),
        (status(429), "too many requests"),
        (says(b"<html>Please log in</html>"), "the answer is not from the hub"),
    ],
)
def test_what_is_wrong_and_what_to_do(fault, said, served, monkeypatch):
    served.faults["(GET|HEAD) /(api/models|me)"] = fault
    message = refused(model_digest, model())
    assert message.startswith(f"{MODEL} at revision {commit_of(MODEL)} cannot be read from the Hugging Face hub: ")
    assert said in message


def test_names_that_are_not_there(served, toy):
    assert "no model.safetensors on the hub, only pytorch_model.bin" in refused(
        model_digest, model(revision=served.add("model", MODEL, {"pytorch_model.bin": b"pickle"}))
    )
    assert "has no tokenizer.json or" in refused(
        model_digest, model(revision=served.add("model", MODEL, {WEIGHTS: toy[WEIGHTS]}))
    )
    assert "owner/name" in refused(model_digest, model(checkpoint="me/toy/more"))
    assert "choose from train, validation" in refused(sentences, task(eval_split="test"))
    assert "two" in refused(sentences, task(subset="two"))
    assert "write it as train or train[:100]" in refused(sentences, task(eval_split="train[a"))
    script = served.add("dataset", DATA, {"rows.py": b"import os"})
    assert f"{DATA} at revision {script}" in refused(sentences, task(revision=script))


def test_rows_that_cannot_be_read(served):
    files = {name: b"PAR1" * 9 if name.endswith(".parquet") else content for name, content in rows().items()}
    broken = served.add("dataset", DATA, files)
    assert f"{DATA} at revision {broken}" in refused(sentences, task(revision=broken))


@pytest.mark.parametrize("name", ["dataset_info.json", "rows-train.arrow"])
def test_rows_that_are_damaged_in_the_cache(name, served, tmp_path):
    sentences()
    (file,) = tmp_path.glob(f"datasets/*/one/*/*/{name}")
    file.write_bytes(b"{")
    assert f"delete {file.parent} and run again" in refused(sentences)


def test_a_tokenizer_without_padding(served, toy):
    settings = {key: value for key, value in json.loads(toy[SETTINGS]).items() if key != "pad_token"}
    revision = served.add("model", MODEL, toy | {SETTINGS: json.dumps(settings).encode()})
    assert "has no padding token" in refused(build_backbone, model(revision=revision), 2)


def test_a_hub_that_hangs_is_waited_for_once(served, monkeypatch):
    monkeypatch.setattr(waiting, "SECONDS", 0.3)
    served.faults["api|resolve"] = hangs(5)
    assert "no answer in time" in refused(model_digest, model())
    served.requests.clear()
    for read, config in ((model_digest, model()), (sentences, task())):
        assert "out of reach (an earlier request got no answer), and its local cache lacks" in refused(read, config)
    assert served.requests == []


def test_a_slow_first_answer_is_waited_for(served):
    """For four seconds, as behind a slow proxy."""
    served.faults["HEAD /$"] = lambda handler: time.sleep(4)  # and then the answer
    assert hub.is_reachable()


def test_why_the_hub_is_out_of_reach(served, monkeypatch):
    monkeypatch.setattr(reach, "PROBE_SECONDS", 0.2)
    served.faults["HEAD /$"] = hangs(1)
    timeout = r"out of reach \((no answer within 0.2 seconds|\w*Timeout: .*)\), and"
    assert re.search(timeout, refused(model_digest, model()))
    served.faults["HEAD /$"] = breaks_off
    reach.forget()
    monkeypatch.setattr(reach, "PROBE_SECONDS", 10)
    assert "out of reach (RemoteProtocolError: Server disconnected" in refused(model_digest, model())
    reach.forget()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "out of reach (HF_HUB_OFFLINE is set), and" in refused(model_digest, model())


@pytest.mark.parametrize(("number", "said"), [(28, "is full: make room, or set HF_HOME"), (30, "set HF_HOME")])
def test_a_cache_that_cannot_be_written(number, said, served, monkeypatch):
    def fails(*_, **__):
        raise OSError(number, os.strerror(number), "there")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fails)
    assert said in refused(model_digest, model())


def test_a_blocked_xet_store(served, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("Data processing error: CAS service error : ReqwestMiddleware Error")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fails)
    assert "HF_HUB_DISABLE_XET=1" in refused(model_digest, model())


def test_a_run_asks_for_nothing_but_its_files(served, tmp_path, monkeypatch, caplog, capfd):
    """PEFT asks for the base's config.json where it saves; a log of requests would show signed addresses."""
    for group, config in (("model", model()), ("task", task())):
        (tmp_path / "own" / group).mkdir(parents=True)
        fields = "".join(f"{key}: {json.dumps(value)}\n" for key, value in vars(config).items())
        (tmp_path / "own" / group / f"{config.name}.yaml").write_text(fields)
    monkeypatch.setattr(composition, "_added", [tmp_path / "own"])
    with caplog.at_level(logging.INFO):
        brief = ["trainer.max_steps=1", "trainer.progress=false"]
        record = start(tmp_path / "results", "model=toy", "task=rows", "adapter=lora", *brief, short=False)
    assert record.status == "success" and record.config.task.revision == commit_of(DATA)
    assert not [line for line in served.requests if "config.json" in line and SETTINGS not in line]
    assert SECRET not in caplog.text + "".join(capfd.readouterr()) and "HTTP Request" not in caplog.text
