"""Ids of runs: the committed ones stay, what counts changes them, and nothing else does."""

import dataclasses
import hashlib
import json
from functools import cache
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from surm_bench.config import AdapterConfig, Config, identity
from surm_bench.config.composition import choices, compose, typed
from surm_bench.config.identity import check_defaults, group_id, run_id
from surm_bench.config.keys import InId
from surm_bench.config.schema import GROUPS
from surm_bench.errors import UserError
from surm_bench.system.installation import config_dir

COMMITTED = json.loads((Path(__file__).parent / "identities.json").read_text())
CONTENT = ["model.digest=0123456789ab", "task.digest=ba9876543210-0123456789ab"]
TEXT = ("model=roberta_base", "task=glue/rte")
IMAGES = ("model=vit_base", "task=images/cifar10")
SUBSET = ("task.max_train_samples=100",)


@cache
def composed(*overrides: str) -> Config:
    return typed(compose([*CONTENT, *overrides]))


def changed(config: Config, key: str, value) -> Config:
    """A copy of a configuration with another value, at a key with dots."""
    document = config.document()
    *parents, last = key.split(".")
    node = document
    for parent in parents:
        node = node[parent]
    node[last] = value
    return Config.of_document(document)


# The committed list


@pytest.mark.parametrize("entry", COMMITTED, ids=lambda entry: " ".join(entry["overrides"]))
def test_committed_ids_stay(entry):
    assert run_id(composed(*entry["overrides"]), entry.get("processes", 1)) == entry["id"]


def test_the_committed_list_is_broad():
    overrides = {override for entry in COMMITTED for override in entry["overrides"]}
    assert len({entry["id"] for entry in COMMITTED}) == len(COMMITTED) >= 25
    assert {"optimizer=adam", "optimizer=sgd"} <= overrides
    kinds = {(c.task.kind, c.task.num_labels == 1) for c in (composed(*e["overrides"]) for e in COMMITTED)}
    assert kinds == {("text", False), ("text", True), ("image", False)}
    assert len({override for override in overrides if override.startswith("adapter=")}) >= 10


def test_a_record_with_keys_of_a_later_version_keeps_its_id():
    for entry in COMMITTED:
        document = composed(*entry["overrides"]).document()
        for group in ("model", "task", "adapter", "optimizer", "trainer", "tracking"):
            document[group]["a_later_key"] = 1
        config = Config.of_document(document | {"a_later_key": 1})
        assert run_id(config, entry.get("processes", 1)) == entry["id"]


def test_a_record_without_the_keys_that_were_added_later_keeps_its_id():
    """It is read as what the key means "as before"."""
    for entry in COMMITTED:
        document = composed(*entry["overrides"]).document()
        for key in ("patience", "keep_best", "micro_batch_size"):
            del document["trainer"][key]
        assert run_id(Config.of_document(document), entry.get("processes", 1)) == entry["id"]


def test_an_id_by_hand():
    """JSON of what counts, keys sorted, without spaces, and the beginning of its SHA-256."""
    document = {
        "model.architecture": "vit_base_patch16_224.augreg_in21k",
        "model.digest": "0123456789ab",
        "task.kind": "image",
        "task.num_labels": 10,
        "task.metric": "accuracy",
        "task.primary_metric": "accuracy",
        "task.digest": "ba9876543210-0123456789ab",
        "task.validation": "dev",
        "task.shots": 5,
        "task.subset_seed": 0,
        "adapter.roles": ["q", "v"],
        "adapter.role_fields": {},
        "adapter.method": "peft.LoraConfig",
        "adapter.method.r": 4,
        "adapter.method.lora_alpha": 16,
        "optimizer.name": "sgd",
        "optimizer.lr": 0.5,
        "optimizer.weight_decay": 0,
        "optimizer.schedule": "linear",
        "optimizer.warmup_ratio": 0.06,
        "optimizer.max_grad_norm": 1,
        "optimizer.momentum": 0.9,
        "trainer.epochs": 10,
        "trainer.batch_size": 32,
        "seed": 3,
    }
    config = composed(
        *IMAGES, "adapter=lora", "adapter.peft.r=4", "adapter.peft.lora_alpha=16", "optimizer=sgd", "optimizer.lr=0.5",
        "task.shots=5", "seed=3",
    )  # fmt: skip

    def digest(content: dict) -> str:
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:12]

    assert run_id(config) == digest(document)
    assert run_id(config, processes=2) == digest(document | {"processes": 2})
    del document["seed"]
    assert group_id(config) == digest(document)


# What counts, and what does not

# key -> (overrides, another value) that give another id: every key that is not in NOT_IN_IDENTITY.
COUNTS = {
    "model.image_size": (IMAGES, 384),
    "model.crop_mode": (IMAGES, "squash"),
    "model.crop_pct": (IMAGES, 1.0),
    "model.mean": (IMAGES, [0.0]),
    "model.std": (IMAGES, [1.0]),
    "task.augment": (IMAGES, "flip"),
    "task.white": (IMAGES, 4095.0),
    "model.digest": (TEXT, "ffffffffffff-ffffffffffff"),
    "model.version": (TEXT, 2),
    "model.architecture": (TEXT, {"model_type": "roberta", "layer_norm_eps": 1e-6}),
    "task.kind": (IMAGES, "text"),
    "task.num_labels": (TEXT, 3),
    "task.metric": (TEXT, "f1_accuracy"),
    "task.primary_metric": (TEXT, "f1"),
    "task.digest": (TEXT, "ffffffffffff-ffffffffffff"),
    "task.version": (TEXT, 2),
    "task.positive_class": ((*TEXT, "task.metric=f1_accuracy"), "0"),
    "task.validation": (TEXT, "holdout"),
    "task.validation_rows": ((*TEXT, *SUBSET, "task.validation=holdout"), 1000),
    "task.fraction": (TEXT, 0.1),
    "task.shots": (TEXT, 5),
    "task.max_train_samples": (TEXT, 100),
    "task.vtab1k": (IMAGES, True),
    "task.max_eval_samples": (TEXT, 100),
    "task.subset_seed": ((*TEXT, *SUBSET), None),
    "task.max_length": (TEXT, 64),
    "adapter.roles": (TEXT, ["q", "k", "v"]),
    "adapter.role_fields": ((*TEXT, "adapter=ia3"), {}),
    "adapter.first_layer": (TEXT, 6),
    "adapter.peft": (TEXT, {"_target_": "surm_bench.adapters.SurmConfig", "structure": "toeplitz"}),
    "adapter.version": (TEXT, 2),
    "optimizer.name": (TEXT, "adam"),
    "optimizer.lr": (TEXT, 0.5),
    "optimizer.head_lr": (TEXT, 0.5),
    "optimizer.weight_decay": (TEXT, 0.1),
    "optimizer.betas": (TEXT, [0.9, 0.99]),
    "optimizer.eps": ((*TEXT, "optimizer=adam"), 1e-6),
    "optimizer.momentum": ((*TEXT, "optimizer=sgd"), 0.5),
    "optimizer.schedule": (TEXT, "cosine"),
    "optimizer.warmup_ratio": (TEXT, 0.1),
    "optimizer.max_grad_norm": (TEXT, 0.0),
    "optimizer.version": (TEXT, 2),
    "trainer.epochs": (TEXT, 3),
    "trainer.max_steps": (TEXT, 100),
    "trainer.eval_steps": (TEXT, 100),
    "trainer.batch_size": (TEXT, 16),
    "trainer.patience": (TEXT, 3),
    "trainer.keep_best": (TEXT, True),
    "trainer.micro_batch_size": (TEXT, 8),
    "trainer.precision": (TEXT, "bf16"),
    "seed": (TEXT, 1),
}
# Not in identity -> another value. model.name and checkpoint stand for the architecture of one family each.
DOES_NOT_COUNT = {
    "results_dir": "/elsewhere",
    "rerun": True,
    "tracking": {"kind": "wandb", "project": "p", "entity": None},
    "model.weights": "/elsewhere",
    "model.revision": "main",
    "task.data_dir": "/elsewhere",
    "task.label_names": ["no", "yes"],
    "task.source": "folder",
    "task.dataset": "somebody/rte",
    "task.subset": None,
    "task.revision": "main",
    "task.train_split": "train[:100]",
    "task.eval_split": "test",
    "task.extra_eval_splits": {"more": "test"},
    "task.inputs": ["a", "b"],
    "task.label": "y",
    "task.rename": {"c": "label"},
    "task.name": "rte",
    "adapter.name": "mine",
    "adapter.label": "Another label",
    "adapter.lr": 0.5,
    "trainer.eval_batch_size": 7,
    "trainer.device": "cpu",
    "trainer.gradient_checkpointing": True,
    "trainer.compile": True,
    "trainer.cache_prefix": True,
    "trainer.workers": 4,
    "trainer.progress": False,
    "trainer.save_seconds": 1.0,
    "trainer.save_adapter": False,
}
BY_FAMILY = {"model.name", "model.checkpoint", "model.family", "model.source"}


@pytest.mark.parametrize("key", COUNTS)
def test_what_counts(key):
    overrides, value = COUNTS[key]
    config = composed(*overrides)
    other = changed(config, key, value)
    assert run_id(other) != run_id(config)
    assert (group_id(other) != group_id(config)) == (key != "seed")


@pytest.mark.parametrize("key", DOES_NOT_COUNT)
def test_what_does_not_count(key):
    config = composed(*TEXT)
    assert run_id(changed(config, key, DOES_NOT_COUNT[key])) == run_id(config)


def test_every_key_is_decided():
    """Each key says at its field whether it counts, and one of the tests above has it."""
    groups = [("", Config), *((f"{name}.", group) for name, group in GROUPS.items() if name != "tracking")]
    parts = {
        f"{prefix}{field.name}": field.metadata["in_id"]
        for prefix, kind in groups
        for field in dataclasses.fields(kind)
        if prefix or field.name not in GROUPS
    }
    assert {key for key, in_id in parts.items() if in_id is InId.NEVER} == {*DOES_NOT_COUNT} - {"tracking"}
    assert {key for key, in_id in parts.items() if in_id is not InId.NEVER} == {*COUNTS, *BY_FAMILY}


def test_the_architecture_has_one_name_wherever_its_weights_lie():
    """Of a hub's text model it is our name, of images timm's."""
    text, images = composed(*TEXT), composed(*IMAGES)
    assert run_id(changed(text, "model.checkpoint", "somebody/roberta-base")) == run_id(text)
    assert run_id(changed(text, "model.name", "roberta_large")) != run_id(text)
    assert run_id(changed(images, "model.name", "mine")) == run_id(images)
    assert run_id(changed(images, "model.checkpoint", "vit_large_patch16_224")) != run_id(images)


@pytest.mark.parametrize(
    ("overrides", "key", "value"),
    [
        (IMAGES, "task.max_length", 64),
        (TEXT, "model.image_size", 384),
        (TEXT, "optimizer.momentum", 0.5),
        ((*TEXT, "optimizer=sgd"), "optimizer.betas", [0.5, 0.5]),
        ((*TEXT, "optimizer=sgd"), "optimizer.eps", 1.0),
        (TEXT, "task.subset_seed", 7),
        (TEXT, "task.validation_rows", 7),
        ((*TEXT, *SUBSET), "task.validation_rows", 7),
    ],
)
def test_what_nothing_reads_does_not_count(overrides, key, value):
    config = composed(*overrides)
    assert run_id(changed(config, key, value)) == run_id(config)


def test_equal_values_are_equal():
    lora = composed(*TEXT, "adapter=lora", "optimizer.weight_decay=1")
    for key, value in {
        "optimizer.weight_decay": 1,
        "optimizer.betas": (0.9, 0.999),
        "adapter.roles": ["v", "q"],
        "optimizer.head_lr": lora.optimizer.lr,
        "adapter.peft.r": 8.0,
        "adapter.peft.bias": "none",  # PEFT's default
        "adapter.peft._target_": "peft.tuners.lora.LoraConfig",
    }.items():
        assert run_id(changed(lora, key, value)) == run_id(lora), key
    reordered = {name: dict(reversed(v.items())) if name in GROUPS else v for name, v in lora.document().items()}
    assert run_id(Config.of_document(reordered)) == run_id(lora)
    surm = composed(*TEXT, "adapter=circulant")
    assert run_id(changed(surm, "adapter.peft.route", "fft")) == run_id(surm)
    assert run_id(changed(surm, "adapter.peft.alpha", 2.0)) != run_id(surm)


def test_the_default_rate_of_an_adapter_counts_where_it_is_used():
    used, overridden = composed(*TEXT), composed(*TEXT, "optimizer.lr=0.1")
    assert run_id(composed(*TEXT, "adapter.lr=0.3")) != run_id(used)
    assert run_id(composed(*TEXT, "adapter.lr=0.3", "optimizer.lr=0.1")) == run_id(overridden)


def test_classes_of_other_packages_are_told_apart_by_their_whole_path(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(
            "from dataclasses import dataclass\n@dataclass\nclass Mine:\n    r: int = 1\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    one, two = (changed(composed(*TEXT), "adapter.peft", {"_target_": f"{name}.Mine"}) for name in ("one", "two"))
    assert run_id(one) != run_id(two)
    assert run_id(changed(one, "adapter.peft.r", 1)) == run_id(one) != run_id(changed(one, "adapter.peft.r", 2))


# As before


def test_values_as_before_are_left_out():
    whole = identity.identity(composed(*TEXT))
    later = [
        f"{name}.{field.name}"
        for name, group in GROUPS.items()
        for field in dataclasses.fields(group)
        if field.metadata["in_id"] is InId.UNLESS_DEFAULT
    ]
    assert len(later) > 20 and not {*later, "loop", "processes"} & whole.keys()


@pytest.mark.parametrize("version", ["model", "task", "adapter"])
def test_versions(version):
    config = composed(*TEXT)
    assert f"{version}.version" not in identity.identity(config)
    assert identity.identity(changed(config, f"{version}.version", 2))[f"{version}.version"] == 2


def test_the_version_of_the_loop(monkeypatch):
    config = composed(*TEXT)
    before = run_id(config)
    monkeypatch.setattr(identity, "LOOP_VERSION", 2)
    assert identity.identity(config)["loop"] == 2 and run_id(config) != before


# Defaults of methods


def method(target: str, **fields) -> AdapterConfig:
    return AdapterConfig(peft={"_target_": target, **fields})


@pytest.mark.parametrize("adapter", choices("adapter"))
def test_written_defaults_are_those_installed(adapter):
    """A field of PEFT or ours that is new or changed is noticed: scripts/adapter_defaults.py says what to do."""
    target = OmegaConf.load(config_dir() / "adapter" / f"{adapter}.yaml").peft._target_
    assert identity.method_defaults(target) == identity.installed_defaults(target)


def test_another_default_is_refused_unless_the_configuration_states_the_field(monkeypatch):
    from peft import LoraConfig

    written = dict(identity.method_defaults("peft.LoraConfig"))
    del written["use_dora"]
    monkeypatch.setattr(identity, "_written_defaults", lambda: {"peft.LoraConfig": written | {"r": 4}})
    assert LoraConfig().r == 8 and LoraConfig().use_dora is False
    with pytest.raises(UserError) as error:
        check_defaults(method("peft.LoraConfig"))
    assert "r=8 instead of 4, use_dora=False instead of 'none'" in str(error.value) and "\n" not in str(error.value)
    check_defaults(method("peft.LoraConfig", r=8, use_dora=False))
    with pytest.raises(UserError, match="use_dora"):
        check_defaults(method("peft.tuners.lora.LoraConfig", r=8))


@pytest.mark.parametrize("target", ["peft.Nope", "nowhere.Config", "Config", "", "json.dumps"])
def test_a_class_that_is_none(target):
    with pytest.raises(UserError, match="is not the class of a PEFT config") as error:
        check_defaults(method(target))
    assert repr(target) in str(error.value) and "\n" not in str(error.value)


# What is refused


@pytest.mark.parametrize("group", ["model", "task"])
def test_content_that_is_not_known(group):
    with pytest.raises(UserError, match=f"{group}.digest of .* is not known"):
        run_id(changed(composed(*TEXT), f"{group}.digest", None))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(value):
    with pytest.raises(UserError, match=f"adapter.method.alpha={value} is not possible: give finite numbers"):
        run_id(changed(composed(*TEXT), "adapter.peft.alpha", value))
