"""The digest of a pretrained model: of its weights and, for a text model, of its tokenizer."""

from pathlib import Path

from surm_bench.config import ModelConfig
from surm_bench.content import FileCache, tokenizer_digest, weights_digest
from surm_bench.errors import UserError
from surm_bench.models.families import family_of
from surm_bench.models.weights import local_path


def model_digest(config: ModelConfig, cache: FileCache | None = None) -> str:
    """Return twelve hex digits of the weights; for a text model a dash and twelve hex digits of the tokenizer follow.

    Raises:
        UserError: the place that the configuration names has no weights, or the hub is out of reach.
    """
    path, family = _place(config), family_of(config)
    digests = [weights_digest(path, family.head(config), cache or FileCache())]
    if family.HAS_TOKENIZER:
        digests.append(tokenizer_digest(path, cache or FileCache()))
    return "-".join(digests)


def check_model(config: ModelConfig, cache: FileCache | None = None) -> str:
    """Compare the model's digest with the declared digest, if there is one, and return the model's digest.

    Raises:
        UserError: the digest is not the declared digest, or model_digest fails.
    """
    digest = model_digest(config, cache)
    if config.digest is not None and digest != config.digest:
        parts = ("weights", "tokenizer")
        differences = [
            f"{part} {wrong} instead of {right}"
            for part, wrong, right in zip(parts, digest.split("-"), config.digest.split("-"), strict=False)
            if wrong != right
        ] or [f"it is {digest}"]  # one of the two digests has no tokenizer part
        raise UserError(
            f"model {config.name} in {_place(config)} does not have the declared model.digest={config.digest}: "
            f"{' and '.join(differences)}; "
            "give model.weights=path of the declared weights, or model.digest=null to accept these weights"
        )
    return digest


def _place(config: ModelConfig) -> Path:
    return local_path(config) or family_of(config).download(config)
