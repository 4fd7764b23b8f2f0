"""What a model is pretrained to: the digest of its weights and, of text, of its tokenizer."""

import re
from pathlib import Path

from surm_bench.config import ModelConfig
from surm_bench.content import FileCache, tokenizer_digest, weights_digest
from surm_bench.errors import UserError
from surm_bench.models import text, vision
from surm_bench.models.weights import local_path

HEADS = {"text": text.OUTSIDE_ENCODER, "vision": re.compile(r"^head\.")}  # drawn anew
DOWNLOADS = {"text": text.download, "vision": vision.download}


def model_digest(config: ModelConfig, cache: FileCache | None = None) -> str:
    """Twelve hex digits of the weights; of text a dash and twelve of the tokenizer follow.

    Raises:
        UserError: there are no weights where the configuration says, or the hub is out of reach.
    """
    path = _place(config)
    digests = [weights_digest(path, HEADS[config.family], cache or FileCache())]
    if config.family == "text":
        digests.append(tokenizer_digest(path, cache or FileCache()))
    return "-".join(digests)


def check_model(config: ModelConfig, cache: FileCache | None = None) -> str:
    """The digest of what is there, which is the declared one.

    Raises:
        UserError: it is not, or what model_digest raises.
    """
    found = model_digest(config, cache)
    if config.digest is not None and found != config.digest:
        parts = ("weights", "tokenizer")
        differences = [
            f"{part} {wrong} instead of {right}"
            for part, wrong, right in zip(parts, found.split("-"), config.digest.split("-"), strict=False)
            if wrong != right
        ] or [f"it is {found}"]  # one of them has no tokenizer
        raise UserError(
            f"model {config.name} in {_place(config)} is not the one that model.digest={config.digest} names: "
            f"{' and '.join(differences)}; "
            "give model.weights=path of the right ones, or model.digest=null to take what is there"
        )
    return found


def _place(config: ModelConfig) -> Path:
    return local_path(config) or DOWNLOADS[config.family](config)
