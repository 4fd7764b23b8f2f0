"""Text backbones of transformers. The architecture files are part of the package."""

import fnmatch
import json
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from surm_bench.config import ModelConfig
from surm_bench.config.composition import config_dirs, with_architecture
from surm_bench.content import SETTINGS, TOKENIZER, VOCABULARIES, weight_files
from surm_bench.content.weights import INDEX, WEIGHTS_FILE
from surm_bench.errors import UserError
from surm_bench.hub import Repository, fetch
from surm_bench.models.weights import EMBEDDED, config_beside, local_path, readable, refuse_misfits, warn_of_differences

LIBRARY = "transformers"
HAS_TOKENIZER = True
# Fields of config.json that change what a model computes, but not the shapes of its tensors.
COMPUTATION = ("model_type", "hidden_act", "layer_norm_eps", "num_attention_heads", "position_embedding_type")
ARCHITECTURES = Path(__file__).parent / "architectures"
# Tensors outside the encoder, which checkpoints may have or lack: heads of this and other objectives, a legacy buffer.
HEAD = re.compile(r"(^|\.)(classifier|pooler|lm_head|cls|position_ids)(\.|$)")
HEAD_BEHIND_POOLER = re.compile(HEAD.pattern.replace("|pooler", ""))


def build(config: ModelConfig, num_labels: int) -> tuple[nn.Module, Callable]:
    """Return the encoder with pretrained weights in fp32 and a new classifier, and the tokenizer."""
    architecture, path = _architecture(config, num_labels), local_path(config)
    if path is None:
        path, source = download(config), config.checkpoint
    else:
        _check_folder(config, path)
        source = str(path)
    tokenizer = read_tokenizer(path, architecture, source)
    if tokenizer.pad_token_id is None:
        unpadded = f"the tokenizer of {source} has no padding token"
        raise UserError(f"{unpadded}: name one as pad_token in tokenizer_config.json")
    module, loading = load(AutoModelForSequenceClassification, path, architecture, source)
    refuse_misfits(
        config.name,
        missing=_of_encoder(loading["missing_keys"]),
        misshapen=_of_encoder(name for name, *_ in loading["mismatched_keys"]),
        unexpected=_of_encoder(loading["unexpected_keys"]),
    )
    # Positions count from the left: behind padding, a text would have other positions in every batch.
    tokenizer.padding_side = "right"
    tokenizer.model_max_length = min(tokenizer.model_max_length, _positions(module))
    tokens, embeddings = len(tokenizer), architecture.vocab_size
    if tokens > embeddings:
        raise UserError(
            f"the tokenizer of {source} has {tokens} tokens, but {config.name} has {embeddings} embeddings: "
            "give weights and tokenizer of one model"
        )
    _draw_head(module)
    return module, tokenizer


def read_tokenizer(folder: Path, architecture: PreTrainedConfig, source: str) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a folder.

    Raises:
        UserError: the tokenizer is missing or not readable, or it has no tokens.
    """
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(str(folder), config=architecture, trust_remote_code=False)
    except Exception as error:  # from the tokenizers library, which has no error class of its own
        reason = next(iter(str(error).splitlines()), "")
        raise UserError(f"the tokenizer of {source} cannot be read: {type(error).__name__}: {reason}") from error
    if not len(tokenizer):
        raise UserError(f"the tokenizer of {source} has no tokens")
    return tokenizer


def load(
    model_class: type, folder: Path, architecture: PreTrainedConfig, source: str, dtype: torch.dtype = torch.float32
) -> tuple[PreTrainedModel, dict]:
    """Load the weights of a folder into a model of an auto class; return the model and the report of misfits.

    transformers gets the tensors and not the folder: an adapter_config.json there would lead it to other weights.
    """
    tensors: dict[str, torch.Tensor] = {}
    with readable(folder):
        for file in weight_files(folder):
            tensors |= load_file(file)
    with _quiet():
        module, loading = model_class._model_mapping[type(architecture)].from_pretrained(
            None,
            config=architecture,
            state_dict=tensors,
            dtype=dtype,
            ignore_mismatched_sizes=True,  # reported, so that the caller can refuse them
            output_loading_info=True,
        )
    module.config._name_or_path = module.name_or_path = source
    return module, loading


def save(
    module: PreTrainedModel,
    _: ModelConfig,
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    label_names: Sequence[str] | None,
) -> None:
    """Write the files that transformers' ``from_pretrained`` reads: weights, config.json and tokenizer."""
    if label_names:
        module.config.id2label = dict(enumerate(label_names))
        module.config.label2id = {name: number for number, name in enumerate(label_names)}
    with _quiet():
        module.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def download(config: ModelConfig) -> Path:
    """Download a hub model's weights and tokenizer; return their folder."""
    return fetch(Repository(config.checkpoint, config.revision), lambda names: wanted(config.checkpoint, names))


def wanted(checkpoint: str, names: Collection[str]) -> list[str]:
    """Return the names of the files to read of a hub model: weights and tokenizer; no pickle, code or configuration."""
    weights = [WEIGHTS_FILE] if WEIGHTS_FILE in names else [INDEX, *fnmatch.filter(names, "model-*-of-*.safetensors")]
    if weights[0] not in names:
        others = [name for name in names if name.endswith((".bin", ".pt", ".ckpt", ".h5", ".msgpack"))]
        beside = f", only {others[0]}, which is not read because a pickle can run code" if others else ""
        raise UserError(f"{checkpoint} has no {WEIGHTS_FILE} on the hub{beside}: choose another model or revision")
    tokens = [TOKENIZER] if TOKENIZER in names else [name for name in VOCABULARIES if name in names]
    if not tokens:
        raise UserError(f"{checkpoint} has no {TOKENIZER} or {VOCABULARIES[0]} on the hub: choose another model")
    return weights + tokens + [name for name in SETTINGS if name in names]


def hub_name(config: ModelConfig) -> str:
    """Return the name of the checkpoint on the hub."""
    return config.checkpoint


def random_inputs(module: nn.Module, tokenizer: PreTrainedTokenizerBase) -> dict[str, Tensor]:
    """Draw a batch of two texts, (2, 16) random tokens."""
    return {"input_ids": torch.randint(len(tokenizer), (2, 16), generator=torch.Generator().manual_seed(0))}


def loading_lines(config: ModelConfig, base: str, num_labels: int) -> tuple[list[str], list[str]]:
    """Return imports and code, for a model card, that build this backbone from the hub with a new head as ``base``."""
    revision = f", revision={config.revision!r}" if config.revision else ""
    built = f"base = AutoModelForSequenceClassification.from_pretrained({base!r}, num_labels={num_labels}{revision})"
    return ["from transformers import AutoModelForSequenceClassification"], [built]


def head(config: ModelConfig) -> re.Pattern[str]:
    """Return a pattern of the tensors that do not count in the digest, because the model does not read them.

    The classifier is drawn anew. A pooler counts only if the model has one: BERT's is loaded, RoBERTa's is ignored.
    """
    names = skeleton(config, 2).state_dict()
    return HEAD_BEHIND_POOLER if any("pooler" in name.split(".") for name in names) else HEAD


def skeleton(config: ModelConfig, num_labels: int) -> nn.Module:
    """Build the module on the meta device."""
    with torch.device("meta"):
        return AutoModelForSequenceClassification.from_config(_architecture(config, num_labels))


def _architecture(config: ModelConfig, num_labels: int) -> PreTrainedConfig:
    """Return the checkpoint's config.json, bundled here so that weights cannot change the architecture."""
    fields = _fields(config)
    return AutoConfig.for_model(fields.pop("model_type"), **fields, num_labels=num_labels)


def _fields(config: ModelConfig) -> dict[str, Any]:
    return dict(with_architecture(config).architecture or json.loads(_packaged_file(config).read_text()))


def _packaged_file(config: ModelConfig) -> Path:
    """Return the architecture file that the package has."""
    if config.source == "embedded":
        return EMBEDDED / config.checkpoint / "config.json"
    file = ARCHITECTURES / f"{config.name}.json"
    if not file.is_file():
        *_, last = [ARCHITECTURES, *(folder / "model" for folder in config_dirs()[1:])]
        raise UserError(f"model {config.name} has no architecture: put its config.json at {last / file.name}")
    return file


def _check_folder(config: ModelConfig, path: Path) -> None:
    if not any((path / name).is_file() for name in (WEIGHTS_FILE, INDEX)):
        wanted = f"expected a folder with {WEIGHTS_FILE} and a tokenizer"
        raise UserError(f"no weights for {config.name} at {path}: {wanted}")
    if not (path / "tokenizer.json").is_file() and not any(path.glob("vocab.*")):
        wanted = f"expected tokenizer.json or vocab.* beside {WEIGHTS_FILE}"
        raise UserError(f"no tokenizer for {config.name} at {path}: {wanted}")
    own, beside = _fields(config), config_beside(path)
    common = [name for name in COMPUTATION if name in own and name in beside]
    warn_of_differences(path, {name: (beside[name], own[name]) for name in common})


def _positions(module: nn.Module) -> int:
    """Return the number of tokens with learned positions; RoBERTa's positions begin after the padding position."""
    embedding = getattr(getattr(module.base_model, "embeddings", None), "position_embeddings", None)
    if not isinstance(embedding, nn.Embedding):
        return sys.maxsize
    return embedding.num_embeddings - (0 if embedding.padding_idx is None else embedding.padding_idx + 1)


def _of_encoder(names: Iterable[str]) -> list[str]:
    return [name for name in names if not HEAD.search(name)]


def _draw_head(module: nn.Module) -> None:
    """Draw the classifier anew, also if the checkpoint has the classifier of another task."""
    for layer in module.classifier.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=module.config.initializer_range)
            nn.init.zeros_(layer.bias)


@contextmanager
def _quiet() -> Iterator[None]:
    """Turn off transformers' warnings and progress bars: the misfits it warns about are expected or refused."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
