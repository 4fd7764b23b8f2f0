"""What a model is pretrained to: the digest of its weights and, of text, of its tokenizer."""

import re
from pathlib import Path

import timm
from huggingface_hub import hf_hub_download

from surm_bench.config import ModelConfig
from surm_bench.content import FileCache, tokenizer_digest, weights_digest
from surm_bench.errors import UserError
from surm_bench.hub import hub_access
from surm_bench.models.text import OUTSIDE_ENCODER
from surm_bench.models.weights import FILE, local_path

HEADS = {"text": OUTSIDE_ENCODER, "vision": re.compile(r"^head\.")}  # drawn anew


def model_digest(config: ModelConfig, cache: FileCache | None = None) -> str:
    """Twelve hex digits of the weights; of text a dash and twelve of the tokenizer follow.

    Raises:
        UserError: there are no weights where the configuration says, or the hub is out of reach.
    """
    path = local_path(config) or _downloaded(config)
    digests = [weights_digest(path, HEADS[config.family], cache or FileCache())]
    if config.family == "text":
        digests.append(tokenizer_digest(path))
    return "-".join(digests)


def check_model(config: ModelConfig, cache: FileCache | None = None) -> str:
    """The digest of what is there, which is the declared one.

    Raises:
        UserError: it is not, or what model_digest raises.
    """
    found = model_digest(config, cache)
    if config.digest is not None and found != config.digest:
        parts = ("weights", "tokenizer")
        told = [
            f"{part} {wrong} instead of {right}"
            for part, wrong, right in zip(parts, found.split("-"), config.digest.split("-"), strict=False)
            if wrong != right
        ] or [f"it is {found}"]  # one of them has no tokenizer
        raise UserError(
            f"model {config.name} is not the one that model.digest={config.digest} names: {' and '.join(told)}; give "
            "model.weights=path of the right ones, or model.digest=null to take what is there"
        )
    return found


def _downloaded(config: ModelConfig) -> Path:
    """The folder of a hub model's weights (and tokenizer), fetched if need be."""
    vision = config.family == "vision"
    repository = timm.get_pretrained_cfg(config.checkpoint).hf_hub_id if vision else config.checkpoint
    files = [FILE] if vision else [FILE, "tokenizer.json"]
    with hub_access(repository):
        return [Path(hf_hub_download(repository, file, revision=config.revision)) for file in files][0].parent
